//! The interface's methods, properties and signals, as callers see them.

use std::sync::Arc;

use zbus::{Connection, message::Header, object_server::SignalEmitter};

use super::{
    Shared,
    argument::{self, Arguments},
    authority::{self, Action},
    error::Error,
    places::{Place, Places},
    properties::{self, Forward, Health},
};
use crate::{
    agent::{Refusal, described},
    report::Document,
};

/// Calls in flight of one caller. Questions to polkit take long, the rest does not.
const MOST_OF_ONE: usize = 8;
/// Calls in flight of all callers.
const MOST_OF_ALL: usize = 128;
/// Questions to polkit in flight for one user, and for all but root.
const MOST_QUESTIONS: (usize, usize) = (4, 32);

/// The object at [`super::PATH`].
pub(super) struct Agent1 {
    shared: Arc<Shared>,
    callers: Arc<Places<String>>,
    asking: Arc<Places<u32>>,
}

impl Agent1 {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (each, all) = MOST_QUESTIONS;
        Self {
            shared,
            callers: Places::new(MOST_OF_ONE, MOST_OF_ALL),
            asking: Places::new(each, all),
        }
    }

    /// One fact of the document; there is one as long as the object is served.
    fn shown<T: Default>(&self, fact: fn(&Document) -> T) -> T {
        let document = self.shared.document();
        document.map(|document| fact(&document)).unwrap_or_default()
    }

    fn admit(&self, call: &Header<'_>) -> Result<Place<String>, Error> {
        let sender = call.sender().map(ToString::to_string).unwrap_or_default();
        self.callers.take(&sender).ok_or_else(|| {
            Error::Busy("too many calls at once; wait for an answer before the next".to_owned())
        })
    }

    /// Lets a call pass that changes something, while it holds the place.
    async fn allow(
        &self,
        bus: &Connection,
        call: &Header<'_>,
        action: Action,
    ) -> Result<Place<String>, Error> {
        let place = self.admit(call)?;
        if let Some(leader) = self.shown(leader) {
            return Err(Error::Busy(leader));
        }
        authority::may(bus, call, action, &self.asking).await?;
        Ok(place)
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
            Refusal::Config(text) => Self::Config(text),
            Refusal::Forward(text) => Self::Forward(text),
            Refusal::Busy(text) => Self::Busy(text.to_owned()),
        }
    }
}

#[zbus::interface(name = "org.wslmesh.Agent1", introspection_docs = false)]
impl Agent1 {
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn role(&self) -> String {
        self.shown(|document| document.role.clone())
    }

    #[zbus(property)]
    fn mode(&self) -> String {
        self.shown(|document| document.mode.clone())
    }

    #[zbus(property)]
    fn interface(&self) -> String {
        self.shown(properties::interface)
    }

    #[zbus(property)]
    fn address(&self) -> String {
        self.shown(properties::address)
    }

    #[zbus(property)]
    fn gateway(&self) -> String {
        self.shown(properties::gateway)
    }

    #[zbus(property)]
    fn windows_address(&self) -> String {
        self.shown(properties::windows_address)
    }

    #[zbus(property)]
    fn network_file(&self) -> String {
        self.shown(properties::network_file)
    }

    #[zbus(property)]
    fn health_state(&self) -> &'static str {
        self.shown(properties::health_state)
    }

    #[zbus(property)]
    fn health(&self) -> Vec<Health> {
        self.shown(properties::health)
    }

    #[zbus(property)]
    fn forwards(&self) -> Vec<Forward> {
        self.shown(properties::forwards)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn passes(&self) -> u64 {
        self.shown(|document| document.passes)
    }

    #[zbus(out_args("document"))]
    async fn describe(&self, #[zbus(header)] call: Header<'_>) -> Result<String, Error> {
        let _place = self.admit(&call)?;
        let nothing = || Error::Busy("nothing is known yet; try again".to_owned());
        let document = self.shared.document().ok_or_else(nothing)?;
        let document = described(Document::clone(&document)).await;
        serde_json::to_string(&document).map_err(|error| Error::Busy(error.to_string()))
    }

    #[zbus(out_args("forwards"))]
    fn list_forwards(&self) -> Vec<Forward> {
        self.shown(properties::forwards)
    }

    #[zbus(out_args("changes"))]
    async fn reapply(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<Vec<String>, Error> {
        let _place = self.allow(bus, &call, Action::Reapply).await?;
        Ok(self.shared.asker.reapply().await?)
    }

    async fn reload(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<(), Error> {
        let _place = self.allow(bus, &call, Action::Reload).await?;
        Ok(self.shared.asker.reload().await?)
    }

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
        let _place = self.allow(bus, &call, Action::AddForward).await?;
        let forward = Arguments {
            name,
            protocol,
            listen_address,
            listen_port,
            connect_port,
            firewall,
        }
        .forward()?;
        let path = self.shared.asker.add(forward).await?;
        Ok(path.display().to_string())
    }

    #[zbus(out_args("path"))]
    async fn remove_forward(
        &self,
        name: &str,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, Error> {
        let _place = self.allow(bus, &call, Action::RemoveForward).await?;
        let name = argument::name(name)?.to_owned();
        let path = self.shared.asker.remove(name).await?;
        Ok(path.display().to_string())
    }

    /// Another name than the one that zbus makes for the property.
    #[zbus(signal, name = "AddressChanged")]
    pub(super) async fn address_is_new(
        emitter: &SignalEmitter<'_>,
        interface: &str,
        old: &str,
        new: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn health_raised(
        emitter: &SignalEmitter<'_>,
        code: &str,
        severity: &str,
        subject: &str,
        detail: &str,
        cure: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn health_cleared(
        emitter: &SignalEmitter<'_>,
        code: &str,
        subject: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn changed(
        emitter: &SignalEmitter<'_>,
        changes: &[String],
        duration_us: u64,
    ) -> zbus::Result<()>;
}
