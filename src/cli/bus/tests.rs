//! The client against an agent that is made up, without a bus between them.

use std::{
    future::pending,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
};

use zbus::{
    DBusError,
    connection::Builder,
    message::{Flags, Header},
};

use super::*;

const DOCUMENT: &str = r#"{"version":1,"pid":7,"role":"active","mode":"nat","interface":null,"address":null,"gateway":null,"network-file":"/x","forwards":null,"windows-address":null,"passes":1,"last-pass-us":1,"health":[],
    "wireguard":[{"device":"wg0","listen-port":51820,"peers":[]}],"something-later":1}"#;

#[derive(Debug, DBusError)]
#[zbus(prefix = "org")]
enum Refusal {
    #[zbus(name = "wslmesh.Agent1.Error.Denied")]
    Denied(String),
    #[zbus(name = "wslmesh.Agent1.Error.Busy")]
    Busy(String),
    #[zbus(name = "freedesktop.DBus.Error.InteractiveAuthorizationRequired")]
    Interactive(String),
}

/// An agent that answers this document, and notes what it was asked to change.
struct FakeAgent {
    document: &'static str,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeAgent {
    fn note(&self, call: &Header<'_>, what: String) {
        let flags = call.primary().flags();
        assert!(flags.contains(Flags::NO_AUTO_START));
        let interactive = flags.contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let asked = if interactive { "may ask, " } else { "" };
        self.asked.lock().unwrap().push(format!("{asked}{what}"));
    }
}

#[zbus::interface(name = "org.wslmesh.Agent1")]
impl FakeAgent {
    async fn describe(&self, #[zbus(header)] call: Header<'_>) -> String {
        self.note(&call, "describe".to_owned());
        if self.document.is_empty() {
            pending::<()>().await;
        }
        self.document.to_owned()
    }

    #[expect(clippy::too_many_arguments, reason = "as on the bus")]
    fn add_forward(
        &self,
        name: &str,
        protocol: &str,
        listen_address: &str,
        listen_port: u16,
        connect_port: u16,
        firewall: &str,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, Refusal> {
        let what =
            format!("{name} {protocol} {listen_address}:{listen_port} {connect_port} {firewall}");
        self.note(&call, what);
        match name {
            "denied" => Err(Refusal::Denied("only administrators may".to_owned())),
            "password" => Err(Refusal::Interactive("polkit may not ask".to_owned())),
            name => Ok(format!("/etc/wslmesh/wslmesh.toml.d/{name}.toml")),
        }
    }

    fn remove_forward(
        &self,
        name: &str,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, Refusal> {
        self.note(&call, format!("remove {name}"));
        Err(Refusal::Busy("another agent leads".to_owned()))
    }
}

/// Something else in the agent's place.
struct Stranger;

#[zbus::interface(name = "org.wslmesh.Other")]
impl Stranger {
    fn describe(&self) -> String {
        DOCUMENT.to_owned()
    }
}

/// A client and what keeps its other end alive.
async fn to(serve: impl FnOnce(Builder<'_>) -> Builder<'_>) -> (Bus, Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = Builder::unix_stream(theirs)
        .server(zbus::Guid::generate())
        .p2p();
    let client = Builder::unix_stream(ours).p2p().build();
    let (server, client) = tokio::join!(serve(server).build(), client);
    let bus = Bus::over(&client.unwrap()).await.unwrap();
    (bus, server.unwrap())
}

pub(in crate::cli) async fn to_agent(
    document: &'static str,
) -> (Bus, Connection, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::default());
    let agent = FakeAgent {
        document,
        asked: Arc::clone(&asked),
    };
    let (bus, server) = to(|builder| builder.serve_at("/org/wslmesh/Agent1", agent)).await;
    (bus, server, asked)
}

fn forward(name: &str) -> Forward {
    Forward {
        name: name.to_owned(),
        protocol: crate::config::Protocol::Udp,
        listen_address: "192.0.2.1".parse().unwrap(),
        listen_port: 51820.try_into().unwrap(),
        connect_port: 51821.try_into().unwrap(),
        firewall: crate::config::Firewall::Full,
    }
}

#[tokio::test]
async fn reading_asks_nobody_and_changing_may() {
    let (bus, _server, asked) = to_agent(DOCUMENT).await;
    let document = bus.describe().await.unwrap();
    assert_eq!(document.pid, 7);
    assert_eq!(document.wireguard.unwrap().len(), 1);
    let path = bus.add(&forward("wg")).await.unwrap();
    assert_eq!(path, "/etc/wslmesh/wslmesh.toml.d/wg.toml");
    assert!(bus.remove("wg").await.is_err());
    assert_eq!(
        *asked.lock().unwrap(),
        [
            "describe",
            "may ask, wg udp 192.0.2.1:51820 51821 full",
            "may ask, remove wg"
        ]
    );
}

#[tokio::test]
async fn what_the_agent_refuses_is_told_in_its_words() {
    let (bus, _server, _) = to_agent(DOCUMENT).await;
    let denied = bus.add(&forward("denied")).await.unwrap_err();
    assert!(matches!(&denied, BusError::Refused(_)), "{denied:?}");
    assert_eq!(denied.to_string(), "only administrators may");
    let password = bus.add(&forward("password")).await.unwrap_err();
    assert!(matches!(&password, BusError::Refused(_)), "{password:?}");
    assert_eq!(password.to_string(), "polkit may not ask");
    let busy = bus.remove("x").await.unwrap_err();
    assert_eq!(busy.to_string(), "another agent leads");
}

#[tokio::test]
async fn nobody_there_and_somebody_else_are_absent() {
    let (bus, _server) = to(|builder| builder.serve_at("/org/wslmesh/Other", Stranger)).await;
    let nobody = bus.describe().await.unwrap_err();
    assert!(matches!(nobody, BusError::Absent), "{nobody:?}");
    let (bus, _server) = to(|builder| builder.serve_at("/org/wslmesh/Agent1", Stranger)).await;
    for error in [
        bus.describe().await.unwrap_err(),
        bus.add(&forward("x")).await.unwrap_err(),
    ] {
        assert!(matches!(error, BusError::Absent), "{error:?}");
    }
}

#[tokio::test]
async fn an_agent_that_hangs_or_ends_or_talks_nonsense() {
    let (bus, _server, _) = to_agent("").await;
    let silent = bus.describe().await.unwrap_err();
    assert!(matches!(silent, BusError::Silent(READING)), "{silent:?}");
    let (bus, server, _) = to_agent("{").await;
    let nonsense = bus.describe().await.unwrap_err();
    assert!(matches!(nonsense, BusError::Failed(_)), "{nonsense:?}");
    drop(server);
    let gone = bus.describe().await.unwrap_err();
    assert!(
        matches!(gone, BusError::Failed(_) | BusError::Silent(_)),
        "{gone:?}"
    );
}
