//! The client: a repository's files, fetched into the cache.

mod absent;
mod answer;
mod below;
mod cache;
mod commit;
mod download;
mod environment;
mod error;
mod fetch;
mod from_cache;
mod http;
mod http_error;
mod identity;
mod index;
mod limits;
mod names;
mod options;
mod origin;
mod pace;
mod part;
mod proxy;
mod remote;
mod site;
mod snapshot;
mod verified;
mod watch;

pub use self::{
    error::{HubError, HubFile},
    fetch::{fetch, fetch_tokenizer},
    http_error::{HttpError, TimeoutPhase},
    options::HubOptions,
    snapshot::Snapshot,
};
