//! The closest pairs of many tiles, as an aggregate.

use std::{mem::size_of_val, sync::Arc};

use datafusion::{
    arrow::{array::ArrayRef, datatypes::DataType},
    common::{Result, cast::as_string_array, exec_err},
    error::DataFusionError,
    logical_expr::{Accumulator, AggregateUDF, Volatility, create_udaf},
    scalar::ScalarValue,
};
use inject_collisions::ClosestPairs;

/// Creates the aggregate `merge_pairs(pairs)` of closest pairs in JSON.
pub(crate) fn merge_pairs() -> AggregateUDF {
    let text = DataType::Utf8;
    create_udaf(
        "merge_pairs",
        vec![text.clone()],
        Arc::new(text.clone()),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::<Merged>::default() as Box<dyn Accumulator>)),
        Arc::new(vec![text]),
    )
}

/// The closest pairs of the tiles so far: `None` before the first.
#[derive(Debug, Default)]
struct Merged(Option<ClosestPairs>);

impl Accumulator for Merged {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for text in as_string_array(&values[0])?.iter().flatten() {
            let part: ClosestPairs =
                serde_json::from_str(text).map_err(|error| DataFusionError::External(error.into()))?;
            let merged = self.0.get_or_insert_with(|| ClosestPairs::keeping(part.k));
            if merged.k != part.k {
                return exec_err!("found the {} closest pairs of a tile, expected {}", part.k, merged.k);
            }
            merged.merge(&part);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let text = self.0.as_ref().map(serde_json::to_string).transpose();
        Ok(ScalarValue::Utf8(text.map_err(|error| DataFusionError::External(error.into()))?))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.as_ref().map_or(0, |merged| size_of_val(&merged.pairs[..]))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringArray;
    use inject_collisions::Pair;

    use super::*;

    fn part(k: usize, pairs: &[(usize, f64)]) -> String {
        let mut part = ClosestPairs::keeping(k);
        part.pairs = pairs.iter().map(|&(row, distance)| Pair::new(row, row + 1, distance)).collect();
        (part.decided, part.computed) = (10, 3);
        serde_json::to_string(&part).unwrap()
    }

    fn merged(parts: &[&[String]]) -> Result<ScalarValue> {
        let column = |texts: &[String]| [Arc::new(StringArray::from(texts.to_vec())) as ArrayRef];
        let mut whole = Merged::default();
        for part in parts {
            let mut of_part = Merged::default();
            of_part.update_batch(&column(part))?;
            let states = of_part.state()?.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
            whole.merge_batch(&states)?;
        }
        whole.evaluate()
    }

    #[test]
    fn the_order_and_the_division_of_the_parts_do_not_matter() {
        let [a, b, c] = [(0, 0.1), (4, 1.0 / 3.0), (8, 0.2)].map(|pair| part(2, &[pair]));
        let whole = merged(&[&[a.clone(), b.clone(), c.clone()]]).unwrap();
        let mut expected: ClosestPairs = serde_json::from_str(&part(2, &[(0, 0.1), (8, 0.2)])).unwrap();
        (expected.decided, expected.computed) = (30, 9);
        assert_eq!(whole, ScalarValue::Utf8(serde_json::to_string(&expected).ok()));
        for parts in [[&[c.clone(), a.clone()][..], &[], &[b.clone()]], [&[b], &[a], &[c]]] {
            assert_eq!(merged(&parts).unwrap(), whole);
        }
    }

    #[test]
    fn no_parts_have_no_pairs_and_parts_of_other_questions_are_refused() {
        assert_eq!(merged(&[&[]]).unwrap(), ScalarValue::Utf8(None));
        let error = merged(&[&[part(2, &[]), part(3, &[])]]).unwrap_err();
        assert!(error.to_string().contains("found the 3 closest pairs of a tile, expected 2"), "{error}");
    }
}
