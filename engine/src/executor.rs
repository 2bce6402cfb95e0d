//! An executor: one for a machine.

use std::{
    env, fmt,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::{
    config::TaskSchedulingPolicy,
    error::BallistaError,
    extension::SessionConfigExt,
    utils::{GrpcServerConfig, create_grpc_server},
};
use ballista_executor::{
    executor_process::{ExecutorProcessConfig, start_executor_process},
    flight_service::BallistaFlightService,
    shutdown::Shutdown,
};
use datafusion::prelude::SessionConfig;
use tempfile::TempDir;
use tonic::transport::server::TcpIncoming;

use crate::{
    error::EngineError,
    functions::{self, Begun},
    reach::reach,
};

/// The options of an executor.
#[derive(Clone)]
#[non_exhaustive]
pub struct ExecutorOptions {
    /// The host name or IP of the scheduler, and its port.
    pub scheduler: (String, u16),
    /// The address to listen on for those who fetch results. The system chooses port 0.
    pub listen: SocketAddr,
    /// The host name or IP at which others reach this executor. If none is given, it is that of the address to listen on.
    pub host: Option<String>,
    /// The number of pieces measured at once. One keeps all cores busy.
    pub pieces_at_once: NonZeroUsize,
    /// The longest time to wait for the scheduler at the beginning.
    pub patience: Duration,
    /// A function that is called with every piece whose measurement begins.
    pub begun: Begun,
}

impl ExecutorOptions {
    /// Creates options for a scheduler and an address to listen on. One piece is measured at a time,
    /// and the scheduler has a minute to appear.
    pub fn new(scheduler: (String, u16), listen: SocketAddr) -> Self {
        let (pieces_at_once, begun) = (NonZeroUsize::MIN, functions::nobody());
        ExecutorOptions {
            scheduler,
            listen,
            host: None,
            pieces_at_once,
            patience: Duration::from_secs(60),
            begun,
        }
    }

    /// Sets [`ExecutorOptions::host`].
    pub fn with_host(self, host: Option<String>) -> Self {
        ExecutorOptions { host, ..self }
    }

    /// Sets [`ExecutorOptions::pieces_at_once`].
    pub fn with_pieces_at_once(self, pieces_at_once: NonZeroUsize) -> Self {
        ExecutorOptions { pieces_at_once, ..self }
    }

    /// Sets [`ExecutorOptions::patience`].
    pub fn with_patience(self, patience: Duration) -> Self {
        ExecutorOptions { patience, ..self }
    }

    /// Sets [`ExecutorOptions::begun`].
    pub fn with_begun(self, begun: Begun) -> Self {
        ExecutorOptions { begun, ..self }
    }
}

impl fmt::Debug for ExecutorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExecutorOptions { scheduler, listen, host, pieces_at_once, patience, begun: _ } = self;
        let mut fields = f.debug_struct("ExecutorOptions");
        fields.field("scheduler", scheduler).field("listen", listen).field("host", host);
        fields.field("pieces_at_once", pieces_at_once).field("patience", patience).finish_non_exhaustive()
    }
}

/// An executor that listens, and works from now on.
#[derive(Debug)]
pub struct Executor {
    address: SocketAddr,
    listener: TcpListener,
    options: ExecutorOptions,
}

impl Executor {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// [`EngineError::Listen`] if the address cannot be listened on.
    pub fn bind(options: ExecutorOptions) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Executor { address, listener, options })
    }

    /// Returns the address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Measures pieces until the process is told to stop.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoScheduler`] if the scheduler does not appear within [`ExecutorOptions::patience`], [`EngineError::Folder`] if
    /// there is no room for results, and [`EngineError::Service`] if the service ends. A scheduler that is lost later is waited for.
    pub async fn serve(self) -> Result<(), EngineError> {
        let Executor { address, listener, options } = self;
        let folder =
            TempDir::new().map_err(|source| EngineError::Folder { path: env::temp_dir(), source })?;
        let functions = functions::registry(SessionConfig::new_with_ballista(), options.begun)?;
        let (scheduler_host, scheduler_port) = options.scheduler;
        reach((scheduler_host.as_str(), scheduler_port), options.patience).await?;
        let config = ExecutorProcessConfig {
            bind_host: address.ip().to_string(),
            external_host: Some(options.host.unwrap_or_else(|| address.ip().to_string())),
            port: address.port(),
            // Of push scheduling only. Should the scheduler call there all the same, it reaches this process and no other.
            grpc_port: address.port(),
            scheduler_host,
            scheduler_port,
            // One try: it is there. Ballista's own timeout never ends, because it measures the age of a clock that it has just read.
            scheduler_connect_timeout_seconds: 0,
            vcores: options.pieces_at_once.get(),
            task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
            work_dir: Some(folder.path().to_string_lossy().into_owned()),
            override_function_registry: Some(Arc::new(functions)),
            override_arrow_flight_service: Some(Arc::new(move |folder, _, shutdown, config| {
                tokio::spawn(serve_results(listener.try_clone(), folder, shutdown, config))
            })),
            ..ExecutorProcessConfig::default()
        };
        Ok(start_executor_process(Arc::new(config)).await?)
    }
}

/// Serves the results of tasks. The engine's own service cannot say which port the system chose.
async fn serve_results(
    listener: std::io::Result<TcpListener>,
    folder: String,
    mut shutdown: Shutdown,
    config: GrpcServerConfig,
) -> Result<(), BallistaError> {
    let listener = tokio::net::TcpListener::from_std(listener?)?;
    let service = FlightServiceServer::new(BallistaFlightService::new(folder));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = create_grpc_server(&config).add_service(service);
    Ok(server.serve_with_incoming_shutdown(incoming, shutdown.recv()).await?)
}
