//! The connection to the bus, which is made again when it is lost.

use std::{io, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{
    select,
    time::{Instant, sleep_until, timeout},
};
use zbus::{
    Connection, MessageStream,
    connection::Builder,
    fdo::{DBusProxy, RequestNameFlags, RequestNameReply},
    object_server::InterfaceRef,
};

use super::{
    daemon,
    interface::Agent1,
    properties::{Properties, emit_changes, entry, plain},
    shared::Shared,
};
use crate::{
    backoff::Retry,
    control::{NAME, PATH, Signal},
    model::MeshChange,
    report::Document,
};

/// Longest wait for a bus that accepts a connection and then does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that lived for longer was no failure.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    /// No program listens at the bus's address.
    #[error("no system bus here")]
    Absent,
    /// The bus does not complete the connection, for this reason.
    #[error("cannot join the system bus: {0}; retrying")]
    Failed(String),
    /// The bus does not give us the name, for this reason.
    #[error(
        "the system bus does not give the agent its name, so that no program finds it there: {0}; install {NAME}.conf into /usr/share/dbus-1/system.d, then: systemctl reload dbus wslmesh"
    )]
    NameRefused(String),
}

impl ConnectError {
    fn connecting(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::Connection(cause, _)
                if matches!(
                    cause.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Self::Absent
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Stays on the bus for as long as the agent runs.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut retry = Retry::default();
    // One that never was there is not waited for.
    let mut seen = false;
    let mut connected = false;
    let mut warned = None;
    loop {
        let link = timeout(CONNECT_TIMEOUT, Link::make(&shared)).await;
        let silent = || {
            let why = format!("it did not answer within {} s", CONNECT_TIMEOUT.as_secs());
            Err(ConnectError::Failed(why))
        };
        match link.unwrap_or_else(|_| silent()) {
            Ok(link) => {
                if warned.take().is_some() || connected {
                    tracing::info!(event = "bus", "on the system bus again");
                }
                (seen, connected) = (true, true);
                let since = Instant::now();
                link.serve(&shared).await;
                shared.keep_signals(false);
                shared.agent.set_name_holder(None);
                if since.elapsed() >= LONG_LIFE {
                    retry.reset();
                }
                tracing::info!(event = "bus", "lost the system bus; reconnecting");
            }
            Err(error @ ConnectError::Absent) => tracing::debug!(event = "bus", "{error}"),
            // The first refusal may be that of a bus that is still to read its
            // policy, as when the package was installed just now.
            Err(ConnectError::NameRefused(_)) if retry.failures == 0 => seen = true,
            Err(error) => {
                seen = true;
                let text = error.to_string();
                if warned.as_ref() != Some(&text) {
                    tracing::warn!(event = "bus", "{text}");
                }
                warned = Some(text);
            }
        }
        let due = retry.failed(std::time::Instant::now());
        select! {
            () = shared.retry.notified() => {}
            () = retry_due(&shared, &retry, due.into(), seen) => {}
        }
    }
}

/// Waits until another attempt is worth it. Where there has been no bus, there must
/// be something to publish too; after a few attempts no timer runs either, so that
/// an agent without a bus is not woken up: the first publication after `due` is
/// the next attempt.
async fn retry_due(shared: &Shared, retry: &Retry, due: Instant, seen: bool) {
    const WITH_TIMER: u32 = 2;
    if !seen {
        shared.changed.notified().await;
        while retry.failures > WITH_TIMER && due > Instant::now() {
            shared.changed.notified().await;
        }
    }
    sleep_until(due).await;
}

/// A connection that serves the object, and whether the name is ours.
struct Link {
    bus: Connection,
    agent: InterfaceRef<Agent1>,
    /// The properties as they were emitted last.
    emitted: Properties,
    owners: MessageStream,
    ours: bool,
    /// Whether the name was requested as the leader's.
    leads: bool,
}

impl Link {
    async fn make(shared: &Arc<Shared>) -> Result<Self, ConnectError> {
        let bus = Builder::system()
            .serve_at(PATH, Agent1::new(Arc::clone(shared)))
            .build()
            .await
            .map_err(ConnectError::connecting)?;
        let refused = |error: zbus::Error| ConnectError::NameRefused(error.to_string());
        // Before the name is requested, so that no change of its owner is missed.
        let owners = daemon::owners(&bus, NAME).await.map_err(refused)?;
        let agent = bus.object_server().interface(PATH).await.map_err(refused)?;
        let mut link = Self {
            bus,
            agent,
            emitted: Properties::new(),
            owners,
            ours: false,
            leads: false,
        };
        let leads = shared.document().is_some_and(|document| leads(&document));
        link.request_name(leads, shared).await.map_err(refused)?;
        shared.keep_signals(true);
        Ok(link)
    }

    /// Requests the name, and waits in the bus's queue for it where another program
    /// owns it. A standby gives it to its leader.
    async fn request_name(&mut self, leads: bool, shared: &Shared) -> zbus::Result<()> {
        let flags = if leads {
            RequestNameFlags::REPLACE_EXISTING
        } else {
            RequestNameFlags::ALLOW_REPLACEMENT
        };
        let daemon = DBusProxy::new(&self.bus).await?;
        let answer = daemon.request_name(NAME.try_into()?, flags).await?;
        self.leads = leads;
        self.ours = matches!(
            answer,
            RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner
        );
        self.report_holder(shared).await;
        Ok(())
    }

    /// Reports who owns the agent's name, which a standby does without.
    async fn report_holder(&self, shared: &Shared) {
        let mut holder = None;
        if self.leads && !self.ours {
            holder = Some(daemon::holder(&self.bus, NAME).await);
        }
        shared.agent.set_name_holder(holder);
    }

    /// Emits what the loop publishes, until the connection is lost.
    async fn serve(mut self, shared: &Shared) {
        loop {
            let (document, signals) = shared.take();
            if let Some(document) = document {
                if leads(&document) != self.leads
                    && let Err(error) = self.request_name(leads(&document), shared).await
                {
                    tracing::debug!(event = "bus", "the name was not given: {error}");
                }
                if !self.ours {
                    self.emitted.clear();
                } else if let Err(error) = self.emit(signals).await {
                    tracing::debug!(event = "bus", "a signal was not sent: {error}");
                }
            }
            select! {
                () = self.bus.closed() => return,
                () = shared.changed.notified() => {}
                change = self.owners.next() => match change {
                    Some(Ok(change)) => {
                        if let Some(owner) = daemon::new_owner(&change) {
                            self.ours = self.bus.unique_name().is_some_and(|own| **own == *owner);
                            self.report_holder(shared).await;
                        }
                    }
                    Some(Err(_)) | None => return,
                },
            }
        }
    }

    /// The properties first: who receives a signal may read them at once.
    async fn emit(&mut self, signals: Vec<Signal>) -> zbus::Result<()> {
        let now = self.agent.get().await.properties();
        let before = std::mem::replace(&mut self.emitted, now);
        let emitter = self.agent.signal_emitter();
        emit_changes(emitter, &before, &self.emitted).await?;
        for signal in signals {
            match signal {
                Signal::AddressChanged {
                    interface,
                    old,
                    new,
                } => Agent1::address_changed_to(emitter, &interface, &old, &new).await,
                Signal::MeshChanged(MeshChange {
                    interface,
                    key,
                    old,
                    new,
                }) => {
                    let key = key.to_string();
                    Agent1::mesh_changed(emitter, &interface, &key, &old, &new).await
                }
                Signal::HealthRaised(raised) => {
                    let (code, severity, subject, detail, fix) = entry(raised);
                    Agent1::health_raised(emitter, &code, &severity, &subject, &detail, &fix).await
                }
                Signal::HealthCleared { code, subject } => {
                    Agent1::health_cleared(emitter, &code, &plain(subject)).await
                }
                Signal::Changed {
                    changes,
                    duration_us,
                } => {
                    let changes: Vec<String> = changes.into_iter().map(plain).collect();
                    Agent1::changed(emitter, &changes, duration_us).await
                }
            }?;
        }
        Ok(())
    }
}

fn leads(document: &Document) -> bool {
    document.role != "standby"
}

#[cfg(test)]
mod tests;
