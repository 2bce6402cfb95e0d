//! The two functions of the query, and the sessions that know them.

mod closest_pairs;
mod merge_pairs;

use std::sync::Arc;

use ballista_core::{registry::BallistaFunctionRegistry, utils::default_session_builder};
use datafusion::{
    common::Result,
    execution::{FunctionRegistry, SessionState},
    prelude::SessionConfig,
};

pub use self::closest_pairs::Begun;
pub(crate) use self::{
    closest_pairs::{closest_pairs, nobody},
    merge_pairs::merge_pairs,
};

/// Creates a session that knows the functions. `begun` is called with every tile that is searched in it.
pub(crate) fn session(config: SessionConfig, begun: Begun) -> Result<SessionState> {
    let mut session = default_session_builder(config)?;
    session.register_udf(Arc::new(closest_pairs(begun)))?;
    session.register_udaf(Arc::new(merge_pairs()))?;
    Ok(session)
}

/// Creates the functions that an executor knows.
pub(crate) fn registry(config: SessionConfig, begun: Begun) -> Result<BallistaFunctionRegistry> {
    Ok(BallistaFunctionRegistry::from(&session(config, begun)?))
}
