//! The query over a table of pieces.

use std::{sync::Arc, time::Duration};

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
    common::{Result, cast::as_string_array},
    datasource::MemTable,
    error::DataFusionError,
    execution::FunctionRegistry,
    physical_plan::{ExecutionPlan, common::collect},
    prelude::{SessionConfig, SessionContext, col},
};
use datafusion_proto::protobuf::PhysicalPlanNode;
use inject_studies::corpus::CorpusPart;

use crate::{descriptor::PieceDescriptor, error::EngineError, functions, part, reach::reach, stores::Stores};

/// Measures the pieces on the executors of a scheduler, given by its host and port, and returns the result of each, in their order.
/// Waits for the first executor as long as it takes.
///
/// # Errors
///
/// [`EngineError::NoScheduler`] if the scheduler cannot be reached or is lost, [`EngineError::OnExecutor`] if a piece cannot be measured, and
/// [`EngineError::Job`] if all executors are lost. [`EngineError::Count`] and [`EngineError::Result`] if the engine returns something
/// other than one result for every piece.
pub async fn measure(
    scheduler: (&str, u16),
    pieces: &[PieceDescriptor],
) -> Result<Vec<CorpusPart>, EngineError> {
    if pieces.is_empty() {
        return Ok(Vec::new());
    }
    reach(scheduler, Duration::ZERO).await?;
    match submit(scheduler, pieces).await {
        Ok(lines) => part::in_order(pieces.iter().map(|descriptor| &descriptor.piece), &lines),
        Err(error) => {
            // A scheduler that is lost explains the error better than the error of its connection.
            reach(scheduler, Duration::ZERO).await?;
            Err(EngineError::of_job(error))
        }
    }
}

/// Submits the query, and returns the result of each piece as a line of JSON.
async fn submit((host, port): (&str, u16), pieces: &[PieceDescriptor]) -> Result<String> {
    let config = session_config();
    let session = SessionContext::new_with_state(functions::session(config.clone(), functions::nobody())?);
    let plan = plan(&session, pieces).await?;
    let results = execute_physical_plan::<PhysicalPlanNode>(
        format!("http://{host}:{port}"),
        &config.ballista_config(),
        plan,
        config.ballista_physical_extension_codec().as_ref(),
        session.session_id(),
        config,
    )
    .await?;
    let mut lines = String::new();
    for batch in collect(results).await? {
        for text in as_string_array(batch.column(0))?.iter().flatten() {
            lines.push_str(text);
            lines.push('\n');
        }
    }
    Ok(lines)
}

/// Measures the pieces in this process, and returns what [`measure`] returns.
///
/// # Errors
///
/// [`EngineError::Piece`] of the first piece that cannot be measured.
pub fn measure_here(pieces: &[PieceDescriptor]) -> Result<Vec<CorpusPart>, EngineError> {
    let stores = Stores::default();
    pieces.iter().map(|piece| Ok(piece.measure(&stores)?)).collect()
}

/// The settings of the query. They travel with it to the scheduler and the executors.
fn session_config() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_ballista_job_name("collisions")
        // The results of all pieces are merged in one place: there are few of them.
        .with_target_partitions(1)
        // One piece a task: an executor that is lost loses one piece for each of its places.
        .set_usize(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, 1)
        // Asking for the state of the job ends in an error soon after the scheduler is lost. An open stream may wait for minutes.
        .set_bool(BALLISTA_CLIENT_PULL, true)
}

/// Plans the query. Every piece is a partition of the table.
async fn plan(session: &SessionContext, pieces: &[PieceDescriptor]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = Arc::new(Schema::new(vec![Field::new("piece", DataType::Utf8, false)]));
    let partition = |piece: &PieceDescriptor| {
        let text = serde_json::to_string(piece).map_err(|error| DataFusionError::External(error.into()))?;
        let column = Arc::new(StringArray::from(vec![text])) as ArrayRef;
        Ok(vec![RecordBatch::try_new(Arc::clone(&schema), vec![column])?])
    };
    let partitions = pieces.iter().map(partition).collect::<Result<Vec<_>>>()?;
    let table = MemTable::try_new(Arc::clone(&schema), partitions)?;
    let measured = session.udf("measure_piece")?.call(vec![col("piece")]);
    let merged = session.udaf("merge_parts")?.call(vec![measured]);
    let query = session.read_table(Arc::new(table))?.aggregate(Vec::new(), vec![merged])?;
    query.create_physical_plan().await
}

#[cfg(test)]
mod tests {
    use ballista_core::extension::SessionConfigHelperExt;

    use super::*;

    #[test]
    fn the_scheduler_reads_that_a_task_is_one_piece() {
        let sent = session_config().to_key_value_pairs();
        let read = SessionConfig::new_with_ballista().update_from_key_value_pair(&sent);
        assert_eq!(read.ballista_config().max_partitions_per_task(), 1);
        assert!(read.ballista_config().client_pull());
    }
}
