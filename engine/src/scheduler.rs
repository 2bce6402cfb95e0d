//! The scheduler: one for a cluster.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ballista_core::config::TaskSchedulingPolicy;
use ballista_scheduler::{
    cluster::BallistaCluster,
    config::SchedulerConfig,
    scheduler_process::{create_scheduler, start_grpc_service_with_listener},
    scheduler_server::SchedulerServer,
};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::net::TcpListener;

use crate::{error::EngineError, functions};

/// The options of a scheduler.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SchedulerOptions {
    /// The address to listen on. The system chooses port 0.
    pub listen: SocketAddr,
    /// The time without a word after which an executor is lost. A busy executor says a word every 5 seconds. Where all executors are
    /// lost, the jobs fail after this time once more.
    pub executor_timeout: Duration,
}

impl SchedulerOptions {
    /// Creates options for an address to listen on, and an executor timeout of 30 seconds.
    pub const fn new(listen: SocketAddr) -> Self {
        SchedulerOptions { listen, executor_timeout: Duration::from_secs(30) }
    }

    /// Sets [`SchedulerOptions::executor_timeout`], of which whole seconds count.
    pub const fn with_executor_timeout(self, executor_timeout: Duration) -> Self {
        SchedulerOptions { executor_timeout, ..self }
    }
}

/// A scheduler that listens, and serves from now on.
pub struct Scheduler {
    address: SocketAddr,
    listener: TcpListener,
    server: SchedulerServer<LogicalPlanNode, PhysicalPlanNode>,
}

impl Scheduler {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// [`EngineError::Listen`] if the address cannot be listened on, and [`EngineError::Service`].
    pub async fn bind(options: SchedulerOptions) -> Result<Self, EngineError> {
        let SchedulerOptions { listen, executor_timeout } = options;
        let failed = |source| EngineError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let seconds = executor_timeout.as_secs();
        let config = SchedulerConfig {
            bind_host: address.ip().to_string(),
            external_host: address.ip().to_string(),
            bind_port: address.port(),
            // Executors ask for work, so the scheduler needs no way to them.
            scheduling_policy: TaskSchedulingPolicy::PullStaged,
            executor_timeout_seconds: seconds,
            expire_dead_executor_interval_seconds: 1,
            no_executors_grace_period_seconds: seconds,
            override_session_builder: Some(Arc::new(|config| {
                functions::session(config, functions::nobody())
            })),
            ..SchedulerConfig::default()
        };
        let cluster = BallistaCluster::new_from_config(&config).await?;
        let server = create_scheduler(cluster, Arc::new(config)).await?;
        Ok(Scheduler { address, listener, server })
    }

    /// Returns the address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves executors and clients.
    ///
    /// # Errors
    ///
    /// [`EngineError::Service`] if the service ends.
    pub async fn serve(self) -> Result<(), EngineError> {
        Ok(start_grpc_service_with_listener(self.listener, self.server).await?)
    }
}
