//! The result of a piece, as a function of its description.

use std::{error::Error, io, iter, sync::Arc};

use datafusion::{
    arrow::{array::StringArray, datatypes::DataType},
    common::{Result, cast::as_string_array},
    error::DataFusionError,
    logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf},
};

use crate::{
    descriptor::PieceDescriptor,
    error::{PieceError, chain},
    part::MeasuredPiece,
    stores::Stores,
    words,
};

/// A function that is called with every piece whose measurement begins.
pub type Begun = Arc<dyn Fn(&PieceDescriptor) + Send + Sync>;

/// Returns a function that does nothing.
pub(crate) fn nobody() -> Begun {
    Arc::new(|_: &PieceDescriptor| ())
}

/// Creates the function `measure_piece(piece)`, from a [`PieceDescriptor`] in JSON to a [`MeasuredPiece`] in JSON.
pub(crate) fn measure_piece(begun: Begun) -> ScalarUDF {
    let stores = Stores::default();
    let function = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let pieces = as_string_array(&arrays[0])?;
        let measured = pieces.iter().map(|piece| measure(piece.unwrap_or_default(), &stores, &begun));
        Ok(ColumnarValue::Array(Arc::new(measured.collect::<Result<StringArray>>()?)))
    };
    // Volatile: it is computed on an executor, and never by an optimiser.
    let volatile = Volatility::Volatile;
    create_udf("measure_piece", vec![DataType::Utf8], DataType::Utf8, volatile, Arc::new(function))
}

fn measure(piece: &str, stores: &Stores, begun: &Begun) -> Result<Option<String>> {
    let piece: PieceDescriptor =
        serde_json::from_str(piece).map_err(|source| failure(&PieceError::Syntax { source }))?;
    begun(&piece);
    let part = piece.measure(stores).map_err(|error| failure(&error))?;
    let measured = MeasuredPiece { piece: piece.piece, part };
    let text = serde_json::to_string(&measured).map_err(|error| DataFusionError::External(error.into()))?;
    Ok(Some(text))
}

/// Returns the error as the engine wants it: only an error of input or output is tried again.
fn failure(error: &PieceError) -> DataFusionError {
    let passing = iter::successors(Some(error as &dyn Error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .find(|&kind| may_pass(kind));
    match passing {
        Some(kind) => DataFusionError::IoError(io::Error::new(kind, words::marked(&chain(error)))),
        None => DataFusionError::Execution(words::marked(&chain(error))),
    }
}

/// Returns whether shared storage may answer otherwise the next time. A file that is missing is missing.
fn may_pass(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, ResourceBusy,
        StaleNetworkFileHandle, TimedOut,
    };
    matches!(
        kind,
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
            | ResourceBusy
            | StaleNetworkFileHandle
            | TimedOut
    )
}

#[cfg(test)]
mod tests {
    use std::{
        num::NonZeroUsize,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use datafusion::prelude::{SessionContext, lit};
    use inject_collisions::{
        Metric,
        models::Tap,
        states::store::{Positions, StoreError, StoreSpec},
    };
    use inject_studies::{StudyError, corpus::CorpusPiece};
    use serde_json::json;

    use super::*;
    use crate::descriptor::PairOptions;

    #[test]
    fn only_errors_of_storage_that_may_pass_are_tried_again() {
        let piece = CorpusPiece::all(&[Tap::Block(1)], NonZeroUsize::MIN).remove(0);
        let unfinished = StoreError::NotAStore { path: "states".into() };
        let source = Box::new(StudyError::from(unfinished));
        let error = PieceError::Measure { piece, store: "states".into(), source };
        let DataFusionError::Execution(text) = failure(&error) else { panic!("tried again") };
        assert_eq!(words::found(&text), Some(chain(&error)));
        assert!(may_pass(io::ErrorKind::StaleNetworkFileHandle) && !may_pass(io::ErrorKind::NotFound));
    }

    /// The optimiser computes a function of constants itself, unless the function is volatile.
    #[tokio::test]
    async fn no_piece_is_measured_while_its_query_is_planned() {
        let spec = StoreSpec::new("none", "0", vec![Tap::Block(1)], Positions::Last, 4);
        let manifest = json!({
            "format_version": 1, "created_by": "", "spec": spec, "prompt_count": 2, "token_count": 2, "row_count": 2,
            "prompts_sha256": "", "noise": null
        });
        let piece = CorpusPiece::all(&[Tap::Block(1)], NonZeroUsize::MIN).remove(0);
        let options = PairOptions::new(NonZeroUsize::MIN, Metric::L2, 1 << 20);
        let row = json!({ "store": "/nowhere", "manifest": manifest, "piece": piece, "options": options });
        let measured = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&measured);
        let function = measure_piece(Arc::new(move |_: &PieceDescriptor| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!(function.signature().volatility, Volatility::Volatile);
        let query = SessionContext::new().read_empty().unwrap();
        let query = query.select(vec![function.call(vec![lit(row.to_string())])]).unwrap();
        query.clone().create_physical_plan().await.unwrap();
        assert_eq!(measured.load(Ordering::Relaxed), 0, "planning measured the piece");
        // Carried out, it begins with the piece, whose store is not there.
        query.collect().await.unwrap_err();
        assert_ne!(measured.load(Ordering::Relaxed), 0, "the row is not a piece");
    }

    #[test]
    fn a_row_that_is_not_a_piece_is_refused() {
        let begun: Begun = Arc::new(|_: &PieceDescriptor| panic!("nothing begins"));
        let error = measure("{}", &Stores::default(), &begun).unwrap_err();
        assert!(
            words::found(&error.to_string()).unwrap().contains("expected a piece in JSON: missing field"),
            "{error}"
        );
    }
}
