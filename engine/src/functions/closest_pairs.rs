//! The closest pairs of a tile, as a function of its description.

use std::{error::Error, io, iter, sync::Arc};

use datafusion::{
    arrow::{array::StringArray, datatypes::DataType},
    common::{Result, cast::as_string_array},
    error::DataFusionError,
    logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf},
};

use crate::{
    descriptor::TileDescriptor,
    error::{TileError, chain},
    stores::Stores,
};

/// A function that is called with every tile whose search begins.
pub type Begun = Arc<dyn Fn(&TileDescriptor) + Send + Sync>;

/// Returns a function that does nothing.
pub(crate) fn nobody() -> Begun {
    Arc::new(|_: &TileDescriptor| ())
}

/// Creates the function `closest_pairs(tile)`, from a tile in JSON to its closest pairs in JSON.
pub(crate) fn closest_pairs(begun: Begun) -> ScalarUDF {
    let stores = Stores::default();
    let function = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let tiles = as_string_array(&arrays[0])?;
        let found = tiles.iter().map(|tile| search(tile.unwrap_or_default(), &stores, &begun));
        Ok(ColumnarValue::Array(Arc::new(found.collect::<Result<StringArray>>()?)))
    };
    // Volatile: it is computed on an executor, and never by an optimiser.
    let volatile = Volatility::Volatile;
    create_udf("closest_pairs", vec![DataType::Utf8], DataType::Utf8, volatile, Arc::new(function))
}

fn search(tile: &str, stores: &Stores, begun: &Begun) -> Result<Option<String>> {
    let tile: TileDescriptor =
        serde_json::from_str(tile).map_err(|source| failure(&TileError::Syntax { source }))?;
    begun(&tile);
    let found = tile.search(stores).map_err(|error| failure(&error))?;
    let text = serde_json::to_string(&found).map_err(|error| DataFusionError::External(error.into()))?;
    Ok(Some(text))
}

/// The error as the engine wants it: only an error of input or output is tried again.
fn failure(error: &TileError) -> DataFusionError {
    let passing = iter::successors(Some(error as &dyn Error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .find(|&kind| may_pass(kind));
    match passing {
        Some(kind) => DataFusionError::IoError(io::Error::new(kind, chain(error))),
        None => DataFusionError::Execution(chain(error)),
    }
}

/// Whether shared storage may answer otherwise the next time. A file that is missing is missing.
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
    use inject_collisions::{CollisionError, PairTile, models::Tap, states::store::StoreError};

    use super::*;

    #[test]
    fn only_errors_of_storage_that_may_pass_are_tried_again() {
        let tile = PairTile::triangle(Tap::Block(1), 1).remove(0);
        let unfinished = StoreError::NotAStore { path: "states".into() };
        let source = Box::new(CollisionError::from(unfinished));
        let error = TileError::Search { tile, store: "states".into(), source };
        let DataFusionError::Execution(text) = failure(&error) else { panic!("tried again") };
        assert_eq!(text, chain(&error));
        assert!(may_pass(io::ErrorKind::StaleNetworkFileHandle) && !may_pass(io::ErrorKind::NotFound));
    }

    #[test]
    fn a_row_that_is_not_a_tile_is_refused() {
        let begun: Begun = Arc::new(|_: &TileDescriptor| panic!("nothing begins"));
        let error = search("{}", &Stores::default(), &begun).unwrap_err();
        assert!(error.to_string().contains("expected a tile in JSON: missing field"), "{error}");
    }
}
