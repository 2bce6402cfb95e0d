//! The results of many pieces, as an aggregate.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    arrow::{array::ArrayRef, datatypes::DataType},
    common::{Result, cast::as_string_array},
    logical_expr::{Accumulator, AggregateUDF, Volatility, create_udaf},
    scalar::ScalarValue,
};

/// Creates the aggregate `merge_parts(measured)` of measured pieces in JSON: a line for each, in a fixed order.
///
/// It is the union of sets, so neither the order of the pieces matters, nor their division, nor whether one comes twice.
pub(crate) fn merge_parts() -> AggregateUDF {
    let text = DataType::Utf8;
    create_udaf(
        "merge_parts",
        vec![text.clone()],
        Arc::new(text.clone()),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::<Merged>::default() as Box<dyn Accumulator>)),
        Arc::new(vec![text]),
    )
}

/// The measured pieces so far. JSON on one line contains no line break.
#[derive(Debug, Default)]
struct Merged(BTreeSet<String>);

impl Accumulator for Merged {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let texts = as_string_array(&values[0])?.iter().flatten();
        self.0.extend(texts.flat_map(str::lines).map(str::to_owned));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let lines: Vec<&str> = self.0.iter().map(String::as_str).collect();
        Ok(ScalarValue::Utf8(Some(lines.join("\n"))))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.iter().map(|line| size_of_val(line) + line.capacity()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringArray;

    use super::*;

    fn merged(parts: &[&[&str]]) -> ScalarValue {
        let mut whole = Merged::default();
        for part in parts {
            let mut of_part = Merged::default();
            of_part.update_batch(&[Arc::new(StringArray::from(part.to_vec()))]).unwrap();
            let states = of_part.state().unwrap();
            let states: Vec<ArrayRef> = states.iter().map(|state| state.to_array().unwrap()).collect();
            whole.merge_batch(&states).unwrap();
        }
        whole.evaluate().unwrap()
    }

    #[test]
    fn order_division_and_repetition_do_not_matter() {
        let whole = ScalarValue::Utf8(Some("1\n2\n3".to_owned()));
        for parts in [&[&["1", "2", "3"][..]][..], &[&["3", "1"], &[], &["2"]], &[&["2", "1"], &["1", "3"]]] {
            assert_eq!(merged(parts), whole);
        }
        assert_eq!(merged(&[&[]]), ScalarValue::Utf8(Some(String::new())));
    }
}
