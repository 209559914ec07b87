use std::{future::pending, os::unix::net::UnixStream, time::Instant};

use zbus::{
    connection::Builder,
    fdo,
    wire::{ObjectPath, OwnedObjectPath},
};

use super::*;

const UNIT: &str = "/org/freedesktop/systemd1/unit/wg_2dquick_40wg0_2eservice";

/// A systemd that has loaded wg-quick@wg0.service and nothing else.
struct FakeManager;

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl FakeManager {
    fn get_unit(&self, name: &str) -> fdo::Result<OwnedObjectPath> {
        if name == "wg-quick@wg0.service" {
            Ok(ObjectPath::try_from(UNIT).unwrap().into())
        } else {
            Err(fdo::Error::Failed(format!("Unit {name} not loaded.")))
        }
    }
}

struct FakeUnit(&'static str);

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl FakeUnit {
    #[zbus(property)]
    fn active_state(&self) -> String {
        self.0.to_owned()
    }
}

/// What is said of `interface` while wg0's unit is in this state.
async fn said(state: &'static str, interface: &str) -> Option<String> {
    said_after(Duration::ZERO, state, interface).await
}

/// The same where connecting takes this long.
async fn said_after(delay: Duration, state: &'static str, interface: &str) -> Option<String> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let systemd = Builder::unix_stream(theirs)
        .server(zbus::Guid::generate())
        .p2p()
        .serve_at("/org/freedesktop/systemd1", FakeManager)
        .serve_at(UNIT, FakeUnit(state))
        .build();
    let client = Builder::unix_stream(ours).p2p().build();
    let (systemd, client) = tokio::join!(systemd, client);
    let (_systemd, client) = (systemd.unwrap(), client.unwrap());
    let late = async {
        tokio::time::sleep(delay).await;
        Some(client)
    };
    busy(late, &InterfaceName::new(interface).unwrap()).await
}

#[tokio::test]
async fn slow_bus_is_waited_for() {
    let said = said_after(Duration::from_millis(300), "activating", "wg0").await;
    assert_eq!(said.as_deref(), Some("wg-quick@wg0.service is activating"));
}

#[tokio::test]
async fn changing_unit_is_busy() {
    for state in ["activating", "deactivating", "reloading"] {
        assert_eq!(
            said(state, "wg0").await,
            Some(format!("wg-quick@wg0.service is {state}"))
        );
    }
}

#[tokio::test]
async fn settled_or_unknown_unit_is_not_busy() {
    for state in ["active", "inactive", "failed", "maintenance"] {
        assert_eq!(said(state, "wg0").await, None, "{state}");
    }
    assert_eq!(said("activating", "wg1").await, None);
}

#[tokio::test]
async fn missing_or_hanging_bus_means_not_busy() {
    let name = InterfaceName::new("wg0").unwrap();
    let begun = Instant::now();
    let no_bus = async {
        Builder::address("unix:path=/nonexistent/bus")
            .build()
            .await
            .ok()
    };
    assert_eq!(busy(no_bus, &name).await, None);
    assert_eq!(busy(pending(), &name).await, None, "a bus that hangs");
    assert!(begun.elapsed() < 25 * DEADLINE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn silent_systemd_means_not_busy() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let silent = Builder::unix_stream(theirs)
        .server(zbus::Guid::generate())
        .p2p()
        .build();
    let client = Builder::unix_stream(ours).p2p().build();
    let (silent, client) = tokio::join!(silent, client);
    let (_silent, client) = (silent.unwrap(), client.unwrap());
    let begun = Instant::now();
    let name = InterfaceName::new("wg0").unwrap();
    assert_eq!(busy(async { Some(client) }, &name).await, None);
    assert!(begun.elapsed() < 25 * DEADLINE, "{:?}", begun.elapsed());
}
