//! The client of org.wslmesh.Agent1.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt;
use tokio::{select, time::timeout};
use zbus::{
    Connection, fdo,
    proxy::{CacheProperties, OwnerChangedStream, SignalStream},
};

use super::signal::Signal;
use crate::{config::Forward, report::Document};

/// Longest wait for what is only read.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for a change: polkit may ask a person for a password.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(150);

/// What the names of the agent's own errors begin with.
const OWN_ERROR: &str = "org.wslmesh.Agent1.Error.";

#[zbus::proxy(
    interface = "org.wslmesh.Agent1",
    default_service = "org.wslmesh.Agent1",
    default_path = "/org/wslmesh/Agent1"
)]
trait Agent1 {
    #[zbus(no_autostart)]
    fn describe(&self) -> zbus::Result<String>;

    #[zbus(no_autostart, allow_interactive_auth)]
    fn reload(&self) -> zbus::Result<()>;

    #[zbus(no_autostart, allow_interactive_auth)]
    fn add_forward_with(&self, keys: &HashMap<&str, String>) -> zbus::Result<String>;

    #[zbus(no_autostart, allow_interactive_auth)]
    fn remove_forward(&self, name: &str) -> zbus::Result<String>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no bus, or no agent on it.
    #[error("{0}")]
    Absent(String),
    /// The policy of the bus keeps this user from calling the agent.
    #[error("the bus does not allow this call")]
    Denied,
    /// The agent is on standby, stopping or overloaded, in its words.
    #[error("{0}")]
    Busy(String),
    /// The agent refuses, in its words.
    #[error("{0}")]
    Refused(String),
    /// No answer in time.
    #[error("the agent did not answer on the bus within {} s", .0.as_secs())]
    Timeout(Duration),
    /// There is no answer, and the status document cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The connection broke, or the answer cannot be understood.
    #[error("asking the agent on the bus failed: {0}")]
    Failed(String),
}

impl ControlError {
    /// Whether the agent cannot be reached at all.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent(_))
    }
}

impl From<zbus::Error> for ControlError {
    fn from(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::MethodError(name, text, _) if name.starts_with(OWN_ERROR) => {
                let text = text.clone().unwrap_or_else(|| name.to_string());
                if name.ends_with(".Busy") {
                    Self::Busy(text)
                } else {
                    Self::Refused(text)
                }
            }
            zbus::Error::FDO(standard) => match standard.as_ref() {
                fdo::Error::ServiceUnknown(_)
                | fdo::Error::NameHasNoOwner(_)
                | fdo::Error::UnknownObject(_)
                | fdo::Error::UnknownInterface(_)
                | fdo::Error::UnknownMethod(_) => {
                    Self::Absent("the agent is not on the system bus".to_owned())
                }
                fdo::Error::AccessDenied(_) => Self::Denied,
                fdo::Error::InvalidArgs(text)
                | fdo::Error::InteractiveAuthorizationRequired(text) => Self::Refused(text.clone()),
                _ => Self::Failed(error.to_string()),
            },
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// A connection to the agent.
#[derive(Debug, Clone)]
pub struct Client(Agent1Proxy<'static>);

impl Client {
    /// Connects to the system bus; the agent need not be on it.
    ///
    /// # Errors
    /// [`ControlError::Absent`]: there is no bus, or none that answers.
    pub async fn connect() -> Result<Self, ControlError> {
        let connected = async { Self::over(&Connection::system().await?).await };
        let absent = match timeout(READ_TIMEOUT, connected).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(_)) => "no system bus",
            Err(_) => "the system bus does not answer",
        };
        Err(ControlError::Absent(absent.to_owned()))
    }

    async fn over(connection: &Connection) -> zbus::Result<Self> {
        let proxy = Agent1Proxy::builder(connection)
            .cache_properties(CacheProperties::No)
            .build();
        proxy.await.map(Self)
    }

    /// The status document, with WireGuard's peers and the relay's counters of now.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn status(&self) -> Result<Document, ControlError> {
        let text = within(READ_TIMEOUT, self.0.describe()).await?;
        serde_json::from_str(&text).map_err(|error| ControlError::Failed(error.to_string()))
    }

    /// Has the configuration read again, and waits for the pass that follows.
    ///
    /// # Errors
    /// [`ControlError`]; a configuration with errors is refused.
    pub async fn reload(&self) -> Result<(), ControlError> {
        within(CHANGE_TIMEOUT, self.0.reload()).await
    }

    /// Adds a forward; gives back the path of its drop-in.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn add_forward(&self, forward: &Forward) -> Result<String, ControlError> {
        let mut keys = HashMap::from([
            ("name", forward.name.clone()),
            ("protocol", forward.protocol.to_string()),
            ("listen-address", forward.listen_address.to_string()),
            ("listen-port", forward.listen_port.to_string()),
            ("connect-port", forward.connect_port.to_string()),
            ("firewall", forward.firewall.to_string()),
        ]);
        let backend = forward.backend.map(|backend| backend.to_string());
        keys.extend(backend.map(|backend| ("backend", backend)));
        let to = forward.connect_address.map(|to| to.to_string());
        keys.extend(to.map(|to| ("connect-address", to)));
        let header = forward.proxy_protocol.map(|header| header.to_string());
        keys.extend(header.map(|header| ("proxy-protocol", header)));
        within(CHANGE_TIMEOUT, self.0.add_forward_with(&keys)).await
    }

    /// Removes a forward; gives back the path that its drop-in had.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn remove_forward(&self, name: &str) -> Result<String, ControlError> {
        within(CHANGE_TIMEOUT, self.0.remove_forward(name)).await
    }

    /// Follows the agent, which need not be running yet, through its restarts.
    ///
    /// # Errors
    /// [`ControlError`]: the bus refuses.
    pub async fn subscribe(&self) -> Result<Subscription, ControlError> {
        let proxy = self.0.inner();
        let subscribed = async {
            // Before the owner is asked for, so that no change is missed.
            let owners = proxy.receive_owner_changed().await?;
            let signals = proxy.receive_all_signals().await?;
            let bus = fdo::DBusProxy::new(proxy.connection()).await?;
            let running = bus.name_has_owner(proxy.destination().clone()).await?;
            Ok(Subscription {
                owners,
                signals,
                running,
            })
        };
        within(READ_TIMEOUT, subscribed).await
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = zbus::Result<T>>,
) -> Result<T, ControlError> {
    let answer = timeout(limit, call).await;
    Ok(answer.map_err(|_| ControlError::Timeout(limit))??)
}

/// The agent's signals; zbus drops those of other senders.
pub struct Subscription {
    owners: OwnerChangedStream<'static>,
    signals: SignalStream<'static>,
    /// Whether an agent was on the bus at the beginning.
    pub running: bool,
}

/// What a [`Subscription`] brings.
#[derive(Debug)]
pub enum Update {
    /// An agent is on the bus now, or none any more.
    Running(bool),
    /// The agent's signal.
    Signal(Signal),
}

impl Subscription {
    /// The next update; `None` when the connection to the bus is lost. Cancel-safe.
    pub async fn next(&mut self) -> Option<Update> {
        loop {
            select! {
                // A new agent is announced before its signals.
                biased;
                owner = self.owners.next() => return Some(Update::Running(owner?.is_some())),
                message = self.signals.next() => {
                    if let Some(signal) = Signal::parse(&message?) {
                        return Some(Update::Signal(signal));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
