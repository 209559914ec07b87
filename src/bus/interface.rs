//! The interface's methods, properties and signals, as callers see them.

use std::sync::Arc;

use zbus::{Connection, message::Header, object_server::SignalEmitter};

use super::{
    Shared,
    argument::{self, Arguments},
    authority::{self, Action},
    callers::{Caller, Callers},
    error::Error,
    properties::{self, Forward, Health, plain},
};
use crate::{
    agent::{Refusal, described},
    report::Document,
};

/// The object at [`super::PATH`].
pub(super) struct Agent1 {
    shared: Arc<Shared>,
    callers: Arc<Callers>,
}

impl Agent1 {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            callers: Callers::new(),
        }
    }

    /// One fact of the document; there is one as long as the object is served.
    fn shown<T: Default>(&self, fact: fn(&Document) -> T) -> T {
        let document = self.shared.document();
        document.map(|document| fact(&document)).unwrap_or_default()
    }

    /// Lets a call pass that is let in and changes something.
    async fn allow(
        &self,
        bus: &Connection,
        call: &Header<'_>,
        caller: &Caller,
        action: Action,
    ) -> Result<(), Error> {
        if let Some(leader) = self.shown(leader) {
            return Err(Error::Busy(leader));
        }
        authority::may(bus, call, caller, action).await
    }
}

/// Who works in the place of an agent that stands by.
fn leader(document: &Document) -> Option<String> {
    let why = document.health.first().map_or("", |entry| &entry.detail);
    (document.role == "standby").then(|| format!("this agent stands by: {why}"))
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Config(text) => Self::Config(plain(text)),
            Refusal::Forward(text) => Self::Forward(plain(text)),
            Refusal::Busy(text) => Self::Busy(text.to_owned()),
        }
    }
}

// The comments are for the readers of dbus/org.wslmesh.Agent1.xml too.
#[zbus::interface(name = "org.wslmesh.Agent1")]
impl Agent1 {
    /// The agent's version.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// "active", or "standby" while another agent works in this network namespace.
    #[zbus(property)]
    fn role(&self) -> String {
        self.shown(|document| document.role.clone())
    }

    /// WSL's networking mode, as in the status document: "nat", "mirrored", ...;
    /// "pending" or "unknown" while it is not known.
    #[zbus(property)]
    fn mode(&self) -> String {
        self.shown(|document| document.mode.clone())
    }

    /// The watched interface. Here and below a text is empty where there is nothing.
    #[zbus(property)]
    fn interface(&self) -> String {
        self.shown(properties::interface)
    }

    /// This distribution's IPv4 address.
    #[zbus(property)]
    fn address(&self) -> String {
        self.shown(properties::address)
    }

    /// Its gateway.
    #[zbus(property)]
    fn gateway(&self) -> String {
        self.shown(properties::gateway)
    }

    /// Windows' own address.
    #[zbus(property)]
    fn windows_address(&self) -> String {
        self.shown(properties::windows_address)
    }

    /// The network file that is kept current.
    #[zbus(property)]
    fn network_file(&self) -> String {
        self.shown(properties::network_file)
    }

    /// "degraded" while a warning or an error is in force, else "healthy".
    #[zbus(property)]
    fn health_state(&self) -> &'static str {
        self.shown(properties::health_state)
    }

    /// The findings in force: code, severity (info, warning, error), subject, detail,
    /// fix.
    #[zbus(property)]
    fn health(&self) -> Vec<Health> {
        self.shown(properties::health)
    }

    /// The configured forwards: name s, protocol s, listen-address s, listen-port q,
    /// connect-port q, served-by s, state s (up, pending, down).
    #[zbus(property)]
    fn forwards(&self) -> Vec<Forward> {
        self.shown(properties::forwards)
    }

    /// Passes made since the start.
    #[zbus(property(emits_changed_signal = "false"))]
    fn passes(&self) -> u64 {
        self.shown(|document| document.passes)
    }

    /// The status document as JSON, with what is gathered only when it is asked for.
    #[zbus(out_args("document"))]
    async fn describe(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, Error> {
        let _caller = self.callers.admit(bus, &call).await?;
        let nothing = || Error::Busy("nothing is known yet; try again".to_owned());
        let document = self.shared.document().ok_or_else(nothing)?;
        let document = described(Document::clone(&document)).await;
        serde_json::to_string(&document).map_err(|error| Error::Busy(error.to_string()))
    }

    /// As the property Forwards.
    #[zbus(out_args("forwards"))]
    async fn list_forwards(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<Vec<Forward>, Error> {
        let _caller = self.callers.admit(bus, &call).await?;
        Ok(self.shown(properties::forwards))
    }

    /// Tries everything again now, what failed too, and gives back the changes made.
    /// For administrators.
    #[zbus(out_args("changes"))]
    async fn reapply(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<Vec<String>, Error> {
        let caller = self.callers.admit(bus, &call).await?;
        self.allow(bus, &call, &caller, Action::Reapply).await?;
        let changes = self.shared.asker.reapply().await?;
        Ok(changes.into_iter().map(plain).collect())
    }

    /// Reads the configuration again and asks Windows anew, as `systemctl reload
    /// wslmesh` does. Error.Config tells all that is wrong with it; the earlier one
    /// stays in force then. For administrators.
    async fn reload(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<(), Error> {
        let caller = self.callers.admit(bus, &call).await?;
        self.allow(bus, &call, &caller, Action::Reload).await?;
        Ok(self.shared.asker.reload().await?)
    }

    /// Writes a forward's drop-in and has it taken up; gives back the drop-in's path.
    /// Nothing for listen_address is 0.0.0.0, nothing for firewall (none, local,
    /// full) is local, 0 for connect_port is listen_port. For administrators.
    #[expect(
        clippy::too_many_arguments,
        reason = "the arguments are the method's on the bus"
    )]
    #[zbus(out_args("path"))]
    async fn add_forward(
        &self,
        name: &str,
        protocol: &str,
        listen_address: &str,
        listen_port: u16,
        connect_port: u16,
        firewall: &str,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, Error> {
        let caller = self.callers.admit(bus, &call).await?;
        // Before anybody is asked, who may take long.
        let forward = Arguments {
            name,
            protocol,
            listen_address,
            listen_port,
            connect_port,
            firewall,
        }
        .forward()?;
        self.allow(bus, &call, &caller, Action::AddForward).await?;
        let path = self.shared.asker.add(forward).await?;
        Ok(plain(path.display().to_string()))
    }

    /// Removes the drop-in of a forward and has that taken up; gives back its path.
    /// For administrators.
    #[zbus(out_args("path"))]
    async fn remove_forward(
        &self,
        name: &str,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, Error> {
        let caller = self.callers.admit(bus, &call).await?;
        let name = argument::name(name)?.to_owned();
        self.allow(bus, &call, &caller, Action::RemoveForward)
            .await?;
        let path = self.shared.asker.remove(name).await?;
        Ok(plain(path.display().to_string()))
    }

    /// The address is another one.
    #[zbus(signal, name = "AddressChanged")]
    pub(super) async fn address_is_new(
        emitter: &SignalEmitter<'_>,
        interface: &str,
        old: &str,
        new: &str,
    ) -> zbus::Result<()>;

    /// A finding is new.
    #[zbus(signal)]
    pub(super) async fn health_raised(
        emitter: &SignalEmitter<'_>,
        code: &str,
        severity: &str,
        subject: &str,
        detail: &str,
        remediation: &str,
    ) -> zbus::Result<()>;

    /// A finding is over.
    #[zbus(signal)]
    pub(super) async fn health_cleared(
        emitter: &SignalEmitter<'_>,
        code: &str,
        subject: &str,
    ) -> zbus::Result<()>;

    /// A pass did something: the journal's line in parts, and what the pass took in
    /// microseconds.
    #[zbus(signal)]
    pub(super) async fn changed(
        emitter: &SignalEmitter<'_>,
        changes: &[String],
        duration_us: u64,
    ) -> zbus::Result<()>;
}
