//! Whether a scheduler is there.

use std::{io, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::error::EngineError;

/// The time between two tries, and the longest time of one.
const TRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Waits until a scheduler accepts connections, and tries once at least. The engine itself would try for ever.
///
/// # Errors
///
/// [`EngineError::NoScheduler`] if it does not within `patience`.
pub(crate) async fn reach((host, port): (&str, u16), patience: Duration) -> Result<(), EngineError> {
    let begin = Instant::now();
    loop {
        let connected = timeout(TRY.1, TcpStream::connect((host, port))).await;
        let Err(source) = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) else {
            return Ok(());
        };
        if begin.elapsed() + TRY.0 > patience {
            return Err(EngineError::NoScheduler { address: format!("{host}:{port}"), patience, source });
        }
        sleep(TRY.0).await;
    }
}
