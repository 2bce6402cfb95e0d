use std::sync::Mutex;

use ureq::{
    config::Config,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{ConnectionDetails, Connector, NextTimeout, TcpConnector},
    },
};

use super::*;

const CONNECT: Duration = Duration::from_secs(3600);
const IDLE: Duration = Duration::from_secs(7200);

/// A name server and a server that never answer. Each takes note of the time that it is allowed, and says at once that it is over.
#[derive(Clone, Debug, Default)]
struct Silent {
    allowed: Arc<Mutex<Vec<(ureq::Timeout, Duration)>>>,
    knows_the_host: bool,
}

impl Silent {
    fn time_is_up(&self, timeout: NextTimeout) -> ureq::Error {
        self.allowed.lock().unwrap().push((timeout.reason, *timeout.after));
        ureq::Error::Timeout(timeout.reason)
    }

    /// The error of a request to a server with a name, and the time that it was given.
    fn ask(&self) -> (HttpError, Duration) {
        let options = HubOptions::new("/nonexistent/cache").with_timeouts(CONNECT, IDLE).unwrap();
        let http = Http::new(&options.with_endpoint("http://hub.test").unwrap()).unwrap();
        let config = http.agent.borrow().config().clone();
        http.agent.replace(Agent::with_parts(config, self.clone(), self.clone()));
        let Err(Failure { error, .. }) = http.head("http://hub.test/x", "x") else { panic!("an answer") };
        (error, self.allowed.lock().unwrap()[0].1)
    }
}

impl Resolver for Silent {
    fn resolve(&self, _: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        if !self.knows_the_host {
            return Err(self.time_is_up(timeout));
        }
        let mut addresses = self.empty();
        addresses.push(([127, 0, 0, 1], 9).into());
        Ok(addresses)
    }
}

impl Connector for Silent {
    type Out = <TcpConnector as Connector>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Err(self.time_is_up(details.timeout))
    }
}

#[test]
fn a_name_and_a_connection_are_waited_for_as_long_as_the_connect_timeout() {
    for knows_the_host in [false, true] {
        let silent = Silent { knows_the_host, ..Silent::default() };
        let (error, allowed) = silent.ask();
        assert!(matches!(error, HttpError::Timeout(TimeoutPhase::Connecting)), "{error:?}");
        // Less the time that the client took to get so far.
        assert!(allowed <= CONNECT && allowed > CONNECT / 2, "{allowed:?}");
    }
}
