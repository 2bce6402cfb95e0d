//! The query over a table of tiles.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use ballista_core::{
    config::{BALLISTA_CLIENT_PULL, BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK},
    execution_plans::execute_physical_plan,
    extension::SessionConfigExt,
};
use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema},
    },
    common::{
        Result,
        cast::{as_int64_array, as_string_array},
    },
    datasource::MemTable,
    error::DataFusionError,
    execution::FunctionRegistry,
    functions_aggregate::expr_fn::count,
    physical_plan::{ExecutionPlan, common::collect},
    prelude::{SessionConfig, SessionContext, col},
};
use datafusion_proto::protobuf::PhysicalPlanNode;
use inject_collisions::{ClosestPairs, models::Tap};

use crate::{descriptor::TileDescriptor, error::EngineError, functions, stores::Stores};

/// The closest pairs of all tiles at one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct TapPairs {
    /// The tap at which the states were read.
    pub tap: Tap,
    /// The closest pairs.
    pub closest: ClosestPairs,
}

/// Searches the tiles on the executors of a scheduler (`http://HOST:PORT`), and returns the closest pairs of each tap, in the order of
/// computation. Waits for the first executor as long as it takes.
///
/// # Errors
///
/// [`EngineError::Job`] with the message of an executor if a tile cannot be searched, if all executors are lost, or if the scheduler
/// does not answer. [`EngineError::TileCount`] and [`EngineError::Result`] if the engine returns something else than the result of
/// every tile.
pub async fn closest_pairs(scheduler: &str, tiles: &[TileDescriptor]) -> Result<Vec<TapPairs>, EngineError> {
    let mut expected = BTreeMap::new();
    tiles.iter().for_each(|tile| *expected.entry(tile.tile.tap).or_insert(0) += 1);
    if expected.is_empty() {
        return Err(EngineError::NoTiles);
    }
    let config = session_config();
    let session = SessionContext::new_with_state(functions::session(config.clone(), functions::nobody())?);
    let plan = plan(&session, tiles).await?;
    let results = execute_physical_plan::<PhysicalPlanNode>(
        scheduler.to_owned(),
        &config.ballista_config(),
        plan,
        config.ballista_physical_extension_codec().as_ref(),
        session.session_id(),
        config,
    )
    .await?;
    let mut found = Vec::new();
    for batch in collect(results).await? {
        found.extend(read(&batch)?);
    }
    let counted: BTreeMap<Tap, i64> = found.iter().map(|(pairs, tiles)| (pairs.tap, *tiles)).collect();
    for (tap, expected) in expected {
        let found = counted.get(&tap).copied().unwrap_or(0);
        if found != expected {
            return Err(EngineError::TileCount { tap, found, expected });
        }
    }
    let mut found: Vec<TapPairs> = found.into_iter().map(|(pairs, _)| pairs).collect();
    found.sort_by_key(|pairs| pairs.tap);
    Ok(found)
}

/// Searches the tiles in this process, and returns what [`closest_pairs`] returns.
///
/// # Errors
///
/// [`EngineError::NoTiles`], and [`EngineError::Tile`] of the first tile that cannot be searched.
pub fn closest_pairs_here(tiles: &[TileDescriptor]) -> Result<Vec<TapPairs>, EngineError> {
    if tiles.is_empty() {
        return Err(EngineError::NoTiles);
    }
    let stores = Stores::default();
    let mut found = BTreeMap::<Tap, ClosestPairs>::new();
    for tile in tiles {
        let keeping = || ClosestPairs::keeping(tile.options.closest.get());
        found.entry(tile.tile.tap).or_insert_with(keeping).merge(&tile.search(&stores)?);
    }
    Ok(found.into_iter().map(|(tap, closest)| TapPairs { tap, closest }).collect())
}

/// The settings of the query. They travel with it to the scheduler and the executors.
fn session_config() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_ballista_job_name("closest pairs")
        // The results of all tiles are merged in one place: there are few of them.
        .with_target_partitions(1)
        // One tile a task: an executor that is lost loses one tile for each of its places.
        .set_usize(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, 1)
        // Asking for the state of the job ends in an error soon after the scheduler is lost. An open stream may wait for minutes.
        .set_bool(BALLISTA_CLIENT_PULL, true)
}

/// Plans the query. Every tile is a partition of the table.
async fn plan(session: &SessionContext, tiles: &[TileDescriptor]) -> Result<Arc<dyn ExecutionPlan>> {
    let column = |name| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![column("tap"), column("tile")]));
    let partition = |tile: &TileDescriptor| {
        let text = serde_json::to_string(tile).map_err(|error| DataFusionError::External(error.into()))?;
        let columns: [ArrayRef; 2] =
            [tile.tile.tap.to_string(), text].map(|text| Arc::new(StringArray::from(vec![text])) as ArrayRef);
        Ok(vec![RecordBatch::try_new(Arc::clone(&schema), Vec::from(columns))?])
    };
    let partitions = tiles.iter().map(partition).collect::<Result<Vec<_>>>()?;
    let table = MemTable::try_new(Arc::clone(&schema), partitions)?;
    let found = session.udf("closest_pairs")?.call(vec![col("tile")]);
    let merged = session.udaf("merge_pairs")?.call(vec![found]).alias("closest");
    let query = session
        .read_table(Arc::new(table))?
        .aggregate(vec![col("tap")], vec![merged, count(col("tile")).alias("tiles")])?;
    query.create_physical_plan().await
}

/// Reads rows of the result: the closest pairs of a tap, and the number of its tiles.
fn read(batch: &RecordBatch) -> Result<Vec<(TapPairs, i64)>, EngineError> {
    let (taps, closest) = (as_string_array(batch.column(0))?, as_string_array(batch.column(1))?);
    let tiles = as_int64_array(batch.column(2))?;
    let row = |row| -> Result<(TapPairs, i64), EngineError> {
        let tap = taps.value(row).parse::<Tap>().map_err(result)?;
        let closest = serde_json::from_str(closest.value(row)).map_err(result)?;
        Ok((TapPairs { tap, closest }, tiles.value(row)))
    };
    (0..batch.num_rows()).map(row).collect()
}

fn result(source: impl Into<Box<dyn Error + Send + Sync>>) -> EngineError {
    EngineError::Result { source: source.into() }
}
