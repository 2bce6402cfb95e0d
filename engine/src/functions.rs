//! The two functions of the query, and the sessions that know them.

mod measure_piece;
mod merge_parts;

use std::sync::Arc;

use ballista_core::{registry::BallistaFunctionRegistry, utils::default_session_builder};
use datafusion::{
    common::Result,
    execution::{FunctionRegistry, SessionState},
    prelude::SessionConfig,
};

pub use self::measure_piece::Begun;
pub(crate) use self::{
    measure_piece::{measure_piece, nobody},
    merge_parts::merge_parts,
};

/// Creates a session that knows the functions. `begun` is called with every piece that is measured in it.
pub(crate) fn session(config: SessionConfig, begun: Begun) -> Result<SessionState> {
    let mut session = default_session_builder(config)?;
    session.register_udf(Arc::new(measure_piece(begun)))?;
    session.register_udaf(Arc::new(merge_parts()))?;
    Ok(session)
}

/// Creates the functions that an executor knows.
pub(crate) fn registry(config: SessionConfig, begun: Begun) -> Result<BallistaFunctionRegistry> {
    Ok(BallistaFunctionRegistry::from(&session(config, begun)?))
}
