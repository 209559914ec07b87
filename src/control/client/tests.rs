//! The client against a fake agent, without a bus between them.

use std::{
    collections::BTreeMap,
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
enum FakeError {
    #[zbus(name = "wslmesh.Agent1.Error.Denied")]
    Denied(String),
    #[zbus(name = "wslmesh.Agent1.Error.Busy")]
    Busy(String),
    #[zbus(name = "freedesktop.DBus.Error.InteractiveAuthorizationRequired")]
    Interactive(String),
}

/// Answers with this document, and records the calls.
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

    /// As a bus whose policy does not let the call through.
    fn reload(&self) -> zbus::fdo::Result<()> {
        let text = "Rejected send message, 2 matched rules".to_owned();
        Err(zbus::fdo::Error::AccessDenied(text))
    }

    fn add_forward_with(
        &self,
        keys: BTreeMap<String, String>,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, FakeError> {
        let name = keys.get("name").cloned().unwrap_or_default();
        let keys = keys
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"));
        self.note(&call, Vec::from_iter(keys).join(" "));
        match name.as_str() {
            "denied" => Err(FakeError::Denied("only administrators may".to_owned())),
            "password" => Err(FakeError::Interactive("polkit may not ask".to_owned())),
            name => Ok(format!("/etc/wslmesh/wslmesh.toml.d/{name}.toml")),
        }
    }

    fn remove_forward(
        &self,
        name: &str,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<String, FakeError> {
        self.note(&call, format!("remove {name}"));
        Err(FakeError::Busy("another agent leads".to_owned()))
    }
}

/// Another interface.
struct Stranger;

#[zbus::interface(name = "org.wslmesh.Other")]
impl Stranger {
    fn describe(&self) -> String {
        DOCUMENT.to_owned()
    }
}

/// A client and what keeps its other end alive.
async fn to(serve: impl FnOnce(Builder<'_>) -> Builder<'_>) -> (Client, Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = Builder::unix_stream(theirs)
        .server(zbus::Guid::generate())
        .p2p();
    let client = Builder::unix_stream(ours).p2p().build();
    let (server, client) = tokio::join!(serve(server).build(), client);
    let client = Client::over(&client.unwrap()).await.unwrap();
    (client, server.unwrap())
}

async fn to_agent(document: &'static str) -> (Client, Connection, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::default());
    let agent = FakeAgent {
        document,
        asked: Arc::clone(&asked),
    };
    let (client, server) = to(|builder| builder.serve_at("/org/wslmesh/Agent1", agent)).await;
    (client, server, asked)
}

fn forward(name: &str) -> Forward {
    Forward {
        name: name.to_owned(),
        protocol: crate::config::Protocol::Udp,
        listen_address: "192.0.2.1".parse().unwrap(),
        listen_port: "51820-51821".parse().unwrap(),
        connect_address: None,
        connect_port: "9001-9002".parse().unwrap(),
        firewall: crate::config::Firewall::Full,
        backend: None,
        proxy_protocol: None,
        remarks: crate::config::Remarks::default(),
    }
}

#[tokio::test]
async fn only_changes_allow_a_password_prompt() {
    let (client, _server, asked) = to_agent(DOCUMENT).await;
    let document = client.status().await.unwrap();
    assert_eq!(document.pid, 7);
    assert_eq!(document.wireguard.unwrap().len(), 1);
    let path = client.add_forward(&forward("wg")).await.unwrap();
    assert_eq!(path, "/etc/wslmesh/wslmesh.toml.d/wg.toml");
    assert!(client.remove_forward("wg").await.is_err());
    assert_eq!(
        *asked.lock().unwrap(),
        [
            "describe",
            "may ask, connect-port=9001-9002 firewall=full listen-address=192.0.2.1 \
             listen-port=51820-51821 name=wg protocol=udp",
            "may ask, remove wg"
        ]
    );
}

#[tokio::test]
async fn refusals_keep_the_agents_words() {
    let (client, _server, _) = to_agent(DOCUMENT).await;
    let denied = client.add_forward(&forward("denied")).await.unwrap_err();
    assert!(matches!(&denied, ControlError::Refused(_)), "{denied:?}");
    assert_eq!(denied.to_string(), "only administrators may");
    let password = client.add_forward(&forward("password")).await.unwrap_err();
    assert!(
        matches!(&password, ControlError::Refused(_)),
        "{password:?}"
    );
    assert_eq!(password.to_string(), "polkit may not ask");
    let busy = client.remove_forward("x").await.unwrap_err();
    assert_eq!(busy.to_string(), "another agent leads");
}

#[tokio::test]
async fn call_that_the_bus_policy_denies_is_denied() {
    let (client, _server, _) = to_agent(DOCUMENT).await;
    let denied = client.reload().await.unwrap_err();
    assert!(matches!(denied, ControlError::Denied), "{denied:?}");
    assert!(!denied.is_absent(), "there is an agent");
    assert_eq!(denied.to_string(), "the bus does not allow this call");
}

#[tokio::test]
async fn another_object_or_interface_is_no_agent() {
    let (client, _server) = to(|builder| builder.serve_at("/org/wslmesh/Other", Stranger)).await;
    let none = client.status().await.unwrap_err();
    assert!(none.is_absent(), "{none:?}");
    let (client, _server) = to(|builder| builder.serve_at("/org/wslmesh/Agent1", Stranger)).await;
    for error in [
        client.status().await.unwrap_err(),
        client.add_forward(&forward("x")).await.unwrap_err(),
    ] {
        assert!(error.is_absent(), "{error:?}");
    }
}

#[tokio::test]
async fn an_agent_that_hangs_ends_or_sends_garbage() {
    let (client, _server, _) = to_agent("").await;
    let silent = client.status().await.unwrap_err();
    assert!(
        matches!(silent, ControlError::Timeout(READ_TIMEOUT)),
        "{silent:?}"
    );
    let (client, server, _) = to_agent("{").await;
    let nonsense = client.status().await.unwrap_err();
    assert!(matches!(nonsense, ControlError::Failed(_)), "{nonsense:?}");
    drop(server);
    let error = client.status().await.unwrap_err();
    assert!(
        matches!(error, ControlError::Failed(_) | ControlError::Timeout(_)),
        "{error:?}"
    );
}
