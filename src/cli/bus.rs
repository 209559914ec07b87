//! The running agent on the system bus: org.wslmesh.Agent1.
//!
//! The bus is one way of several to an agent. Where it, the name or the method is
//! not there, callers go another way; what the agent itself refuses is its word.

use std::time::Duration;

use tokio::time::timeout;
use zbus::{Connection, fdo, proxy::CacheProperties};

use crate::{config::Forward, report::Document};

/// The agent's name on the bus, and its interface.
pub(super) const NAME: &str = "org.wslmesh.Agent1";
/// Its object.
pub(super) const PATH: &str = "/org/wslmesh/Agent1";

/// Longest wait for what is only read.
const READING: Duration = Duration::from_secs(1);
/// Longest wait for a change: somebody may be asked for a password.
const CHANGING: Duration = Duration::from_secs(150);

/// What the agent's own errors begin with.
const OWN_ERROR: &str = "org.wslmesh.Agent1.Error.";

#[zbus::proxy(
    interface = "org.wslmesh.Agent1",
    default_service = "org.wslmesh.Agent1",
    default_path = "/org/wslmesh/Agent1"
)]
trait Agent1 {
    /// The status document with what is asked for on demand.
    #[zbus(no_autostart)]
    fn describe(&self) -> zbus::Result<String>;

    /// Writes a drop-in, whose path comes back, and reads the configuration again.
    #[zbus(no_autostart, allow_interactive_auth)]
    fn add_forward(
        &self,
        name: &str,
        protocol: &str,
        listen_address: &str,
        listen_port: u16,
        connect_port: u16,
        firewall: &str,
    ) -> zbus::Result<String>;

    /// Removes a drop-in, whose path comes back, and reads the configuration again.
    #[zbus(no_autostart, allow_interactive_auth)]
    fn remove_forward(&self, name: &str) -> zbus::Result<String>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum BusError {
    /// Nobody of the name, or nobody who knows the method, or the bus lets nobody
    /// through to it.
    #[error("no agent is on the bus")]
    Absent,
    /// The agent, or the bus for it, refuses, in these words.
    #[error("{0}")]
    Refused(String),
    /// No answer in time.
    #[error("the agent did not answer on the bus within {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection broke, or the answer cannot be understood.
    #[error("asking the agent on the bus failed: {0}")]
    Failed(String),
}

impl From<zbus::Error> for BusError {
    fn from(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::MethodError(name, text, _) if name.starts_with(OWN_ERROR) => {
                Self::Refused(text.clone().unwrap_or_else(|| name.to_string()))
            }
            zbus::Error::FDO(standard) => match standard.as_ref() {
                fdo::Error::ServiceUnknown(_)
                | fdo::Error::NameHasNoOwner(_)
                | fdo::Error::UnknownObject(_)
                | fdo::Error::UnknownInterface(_)
                | fdo::Error::UnknownMethod(_)
                | fdo::Error::AccessDenied(_) => Self::Absent,
                fdo::Error::InvalidArgs(text)
                | fdo::Error::InteractiveAuthorizationRequired(text) => Self::Refused(text.clone()),
                _ => Self::Failed(error.to_string()),
            },
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// A way to the agent.
#[derive(Debug, Clone)]
pub(super) struct Bus(Agent1Proxy<'static>);

impl Bus {
    /// Over the system's bus; `None` where there is none, or none that answers.
    pub(super) async fn system() -> Option<Self> {
        let connected = async { Self::over(&Connection::system().await?).await };
        timeout(READING, connected).await.ok()?.ok()
    }

    async fn over(connection: &Connection) -> zbus::Result<Self> {
        let proxy = Agent1Proxy::builder(connection)
            .cache_properties(CacheProperties::No)
            .build();
        proxy.await.map(Self)
    }

    /// What it goes over.
    pub(super) fn connection(&self) -> &Connection {
        self.0.inner().connection()
    }

    /// The status document, with what the agent gathers on demand.
    pub(super) async fn describe(&self) -> Result<Document, BusError> {
        let text = within(READING, self.0.describe()).await?;
        serde_json::from_str(&text).map_err(|error| BusError::Failed(error.to_string()))
    }

    /// Adds a forward; gives back the path of its drop-in.
    pub(super) async fn add(&self, forward: &Forward) -> Result<String, BusError> {
        let Forward {
            name,
            protocol,
            listen_address,
            listen_port,
            connect_port,
            firewall,
        } = forward;
        let (protocol, firewall) = (protocol.to_string(), firewall.to_string());
        let address = listen_address.to_string();
        let (from, to) = (listen_port.get(), connect_port.get());
        let call = self
            .0
            .add_forward(name, &protocol, &address, from, to, &firewall);
        within(CHANGING, call).await
    }

    /// Removes a forward; gives back the path that its drop-in had.
    pub(super) async fn remove(&self, name: &str) -> Result<String, BusError> {
        within(CHANGING, self.0.remove_forward(name)).await
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = zbus::Result<T>>,
) -> Result<T, BusError> {
    let answer = timeout(limit, call).await;
    Ok(answer.map_err(|_| BusError::Silent(limit))??)
}

#[cfg(test)]
pub(super) mod tests;
