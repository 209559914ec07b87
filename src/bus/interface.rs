//! The interface's methods, properties and signals, as callers see them.

use std::{collections::HashMap, sync::Arc};

use zbus::{Connection, message::Header, object_server::SignalEmitter};

use super::{
    argument::{self, Arguments},
    authorize::{Action, authorize},
    error::Error,
    properties::{self, Forward, Health, Properties, plain},
    quota::{Caller, Quotas},
    shared::Shared,
};
use crate::{
    control::RequestError,
    model::or_empty,
    observe,
    report::{Document, render_metrics},
};

/// The object at [`crate::control::PATH`].
pub(super) struct Agent1 {
    shared: Arc<Shared>,
    quotas: Arc<Quotas>,
}

impl Agent1 {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            quotas: Quotas::new(),
        }
    }

    /// One fact of the document; there is one as long as the object is served.
    fn shown<T: Default>(&self, fact: fn(&Document) -> T) -> T {
        let document = self.shared.document();
        document.map(|document| fact(&document)).unwrap_or_default()
    }

    /// The document with what is gathered on request.
    async fn described(&self) -> Result<Document, Error> {
        let nothing = || Error::Busy("nothing is known yet; try again".to_owned());
        let document = self.shared.document().ok_or_else(nothing)?;
        Ok(self.shared.with_details(&document).await)
    }

    /// Each property whose changes are signalled.
    pub(super) fn properties(&self) -> Properties {
        HashMap::from([
            ("Role", self.role().into()),
            ("Mode", self.mode().into()),
            ("Interface", self.interface().into()),
            ("Address", self.address().into()),
            ("Gateway", self.gateway().into()),
            ("WindowsAddress", self.windows_address().into()),
            ("NetworkFile", self.network_file().into()),
            ("Tunnel", self.tunnel().into()),
            ("HealthState", self.health_state().into()),
            ("Health", self.health().into()),
            ("Forwards", self.forwards().into()),
        ])
    }

    /// Adds a forward.
    async fn add(
        &self,
        arguments: Result<Arguments<'_>, Error>,
        bus: &Connection,
        call: &Header<'_>,
    ) -> Result<String, Error> {
        let caller = self.quotas.admit(bus, call).await?;
        // Before polkit, which may take long.
        let forward = arguments?.forward()?;
        self.allow(bus, call, &caller, Action::AddForward).await?;
        let path = self.shared.agent.add(forward).await?;
        Ok(plain(path.display().to_string()))
    }

    /// Lets an admitted call pass that changes something.
    async fn allow(
        &self,
        bus: &Connection,
        call: &Header<'_>,
        caller: &Caller,
        action: Action,
    ) -> Result<(), Error> {
        if let Some(document) = self.shared.document()
            && document.role == "standby"
            && action == Action::Reapply
        {
            let why = document.health.first().map_or("", |entry| &entry.detail);
            let text = format!("this agent is on standby: {why}");
            return Err(Error::Busy(text));
        }
        authorize(bus, call, caller, action).await
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Config(text) => Self::Config(plain(text)),
            RequestError::Forward(text) => Self::Forward(plain(text)),
            RequestError::Busy(text) => Self::Busy(text.to_owned()),
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

    /// "active", or "standby" while another agent leads in this network namespace.
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

    /// The watched interface. Here and below a text is empty where there is none.
    #[zbus(property)]
    fn interface(&self) -> String {
        self.shown(|document| or_empty(document.interface.as_ref()))
    }

    /// This distribution's IPv4 address.
    #[zbus(property)]
    fn address(&self) -> String {
        self.shown(|document| or_empty(document.address))
    }

    /// Its gateway.
    #[zbus(property)]
    fn gateway(&self) -> String {
        self.shown(|document| or_empty(document.gateway))
    }

    /// Windows' own address.
    #[zbus(property)]
    fn windows_address(&self) -> String {
        self.shown(|document| or_empty(document.windows_address))
    }

    /// The network file that is kept current.
    #[zbus(property)]
    fn network_file(&self) -> String {
        self.shown(|document| plain(document.network_file.display().to_string()))
    }

    /// The tunnel to Windows: "up", "starting", "down" or "failed"; empty where it is neither
    /// wanted nor up.
    #[zbus(property)]
    fn tunnel(&self) -> String {
        self.shown(|document| or_empty(document.tunnel.as_ref().map(|one| &one.state)))
    }

    /// "degraded" while a warning or an error is in force, else "healthy".
    #[zbus(property)]
    fn health_state(&self) -> &'static str {
        if self.shown(Document::degraded) {
            "degraded"
        } else {
            "healthy"
        }
    }

    /// The findings in force: code, severity (info, warning, error), subject, detail,
    /// fix.
    #[zbus(property)]
    fn health(&self) -> Vec<Health> {
        self.shown(properties::health)
    }

    /// The configured forwards: name s, protocol s, listen-address s, listen-port q,
    /// connect-port q, backend s, state s (up, pending, down).
    #[zbus(property)]
    fn forwards(&self) -> Vec<Forward> {
        self.shown(properties::forwards)
    }

    /// Passes made since the start.
    #[zbus(property(emits_changed_signal = "false"))]
    fn passes(&self) -> u64 {
        self.shown(|document| document.passes)
    }

    /// The status document as JSON, with WireGuard's peers and the relay's counters of
    /// now.
    #[zbus(out_args("document"))]
    async fn describe(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, Error> {
        let _caller = self.quotas.admit(bus, &call).await?;
        let document = self.described().await?;
        serde_json::to_string(&document).map_err(|error| Error::Busy(error.to_string()))
    }

    /// The numbers of now in Prometheus' text format, as the file of [metrics] textfile has
    /// them. docs/metrics.md lists them.
    #[zbus(out_args("text"))]
    async fn metrics(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, Error> {
        let _caller = self.quotas.admit(bus, &call).await?;
        let document = self.described().await?;
        Ok(plain(render_metrics(&document, observe::now_unix())))
    }

    /// As the property Forwards.
    #[zbus(out_args("forwards"))]
    async fn list_forwards(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<Vec<Forward>, Error> {
        let _caller = self.quotas.admit(bus, &call).await?;
        Ok(self.shown(properties::forwards))
    }

    /// Retries everything now, failed actions too, asks Windows again, and gives back the
    /// changes made here. What Windows then restores is in the journal and in the status.
    /// For administrators.
    #[zbus(out_args("changes"))]
    async fn reapply(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<Vec<String>, Error> {
        let caller = self.quotas.admit(bus, &call).await?;
        self.allow(bus, &call, &caller, Action::Reapply).await?;
        let changes = self.shared.agent.reapply().await?;
        Ok(changes.into_iter().map(plain).collect())
    }

    /// Reads the configuration again and queries Windows again, as `systemctl reload
    /// wslmesh` does. Error.Config lists every error; the earlier configuration then
    /// stays in force. For administrators.
    async fn reload(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<(), Error> {
        let caller = self.quotas.admit(bus, &call).await?;
        self.allow(bus, &call, &caller, Action::Reload).await?;
        Ok(self.shared.agent.reload().await?)
    }

    /// Writes a forward's drop-in and reloads; gives back the drop-in's path. An empty
    /// listen_address is 0.0.0.0, an empty firewall (none, local, full) is local, 0 for
    /// connect_port is listen_port. For administrators.
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
        let (listen_port, connect) = (listen_port.to_string(), connect_port.to_string());
        let arguments = Arguments {
            name,
            protocol,
            listen_address,
            listen_port: &listen_port,
            connect_port: if connect_port == 0 { "" } else { &connect },
            firewall,
            ..Arguments::default()
        };
        self.add(Ok(arguments), bus, &call).await
    }

    /// As AddForward, of the keys that a `[[forward]]` of the configuration has, with
    /// their values as texts: name, protocol and listen-port, and as wanted
    /// listen-address, connect-address, connect-port, firewall, backend and proxy-protocol.
    /// Ports may be ranges such as 8000-8010. For administrators.
    #[zbus(out_args("path"))]
    async fn add_forward_with(
        &self,
        keys: HashMap<String, String>,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, Error> {
        self.add(Arguments::of(&keys), bus, &call).await
    }

    /// Removes the drop-in of a forward and reloads; gives back its path. For
    /// administrators.
    #[zbus(out_args("path"))]
    async fn remove_forward(
        &self,
        name: &str,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, Error> {
        let caller = self.quotas.admit(bus, &call).await?;
        let name = argument::short("name", name)?.to_owned();
        self.allow(bus, &call, &caller, Action::RemoveForward)
            .await?;
        let path = self.shared.agent.remove(name).await?;
        Ok(plain(path.display().to_string()))
    }

    /// The address changed.
    #[zbus(signal, name = "AddressChanged")]
    pub(super) async fn address_changed_to(
        emitter: &SignalEmitter<'_>,
        interface: &str,
        old: &str,
        new: &str,
    ) -> zbus::Result<()>;

    /// A tunnel is back, has another address or port, or was lost. The key is that of the
    /// network file, such as MESH_IP_WIREGUARD; old and new are empty for none.
    #[zbus(signal)]
    pub(super) async fn mesh_changed(
        emitter: &SignalEmitter<'_>,
        interface: &str,
        key: &str,
        old: &str,
        new: &str,
    ) -> zbus::Result<()>;

    /// A finding was raised.
    #[zbus(signal)]
    pub(super) async fn health_raised(
        emitter: &SignalEmitter<'_>,
        code: &str,
        severity: &str,
        subject: &str,
        detail: &str,
        remediation: &str,
    ) -> zbus::Result<()>;

    /// A finding was cleared.
    #[zbus(signal)]
    pub(super) async fn health_cleared(
        emitter: &SignalEmitter<'_>,
        code: &str,
        subject: &str,
    ) -> zbus::Result<()>;

    /// A pass changed something: the journal's line in parts, and the duration of the
    /// pass in microseconds.
    #[zbus(signal)]
    pub(super) async fn changed(
        emitter: &SignalEmitter<'_>,
        changes: &[String],
        duration_us: u64,
    ) -> zbus::Result<()>;
}
