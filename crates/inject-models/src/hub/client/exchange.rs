//! Exchanges with servers on a thread of their own, so that a server that says nothing keeps nobody waiting.

use std::{
    mem,
    ops::ControlFlow,
    sync::{
        Mutex, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use ureq::{Agent, config::Config};

/// The time between two looks at the caller and the clock.
const TICK: Duration = Duration::from_millis(100);
/// The number of messages that an exchange may be ahead of its caller.
const AHEAD: usize = 4;

/// Connections that can be closed while they are in use.
pub(super) struct Connections {
    config: Config,
    agent: Mutex<Agent>,
}

impl Connections {
    pub(super) fn new(config: Config) -> Self {
        Connections { agent: Mutex::new(config.new_agent()), config }
    }

    pub(super) fn agent(&self) -> Agent {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends every exchange, and begins with new connections.
    fn close(&self) {
        let fresh = self.config.new_agent();
        mem::replace(&mut *self.agent.lock().unwrap_or_else(PoisonError::into_inner), fresh).shutdown();
    }

    /// Runs an exchange on another thread. `listen` gets each message that it sends, or `None` whenever it has sent none for a
    /// while, until the exchange is over.
    ///
    /// If `listen` breaks or unwinds, the connections are closed, which ends the exchange.
    pub(super) fn run<M: Send>(
        &self,
        exchange: impl FnOnce(&SyncSender<M>) + Send,
        mut listen: impl FnMut(Option<M>) -> ControlFlow<()>,
    ) {
        thread::scope(|scope| {
            let (sender, receiver) = sync_channel(AHEAD);
            scope.spawn(move || exchange(&sender));
            let close = CloseOnDrop(self);
            loop {
                let message = match receiver.recv_timeout(TICK) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return mem::forget(close),
                };
                if listen(message).is_break() {
                    return;
                }
            }
        });
    }
}

/// Closes connections, also when the thread unwinds.
struct CloseOnDrop<'a>(&'a Connections);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
