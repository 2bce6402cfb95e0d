//! The addresses of servers, looked up within a time.

use std::{sync::mpsc::sync_channel, thread};

use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{NextTimeout, time::Duration},
    },
};

/// The system's name servers. The HTTP library's own resolver panics where the system allows no thread.
#[derive(Debug)]
pub(super) struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (uri, config) = (uri.clone(), config.clone());
        let without_end = NextTimeout { after: Duration::NotHappening, ..timeout };
        let (send, receive) = sync_channel(1);
        thread::Builder::new().spawn(move || {
            // Nobody listens any more if it took too long.
            let _ = send.send(DefaultResolver::default().resolve(&uri, &config, without_end));
        })?;
        receive.recv_timeout(*timeout.after).unwrap_or(Err(Error::Timeout(timeout.reason)))
    }
}
