//! What systemd is doing with the units that own an interface.

use std::time::Duration;

use tokio::time::timeout;
use zbus::Connection;

use crate::{
    model::InterfaceName,
    units::proxy::{ManagerProxy, UnitProxy},
};

/// Longest wait for the bus, as for a device: not knowing means going on, and
/// racing with wg-quick. A machine that is short of time answers late. Devices
/// are asked for side by side, so a pass waits no longer for many of them.
const DEADLINE: Duration = Duration::from_secs(1);

/// Says who is at work when wg-quick is bringing this interface up or down:
/// setting anything then races with it. `None` also where there is no systemd.
pub(super) async fn wg_quick_at_work(name: &InterfaceName) -> Option<String> {
    at_work(async { Connection::system().await.ok() }, name).await
}

/// The same over a bus that is still being connected to: both have to fit into
/// the deadline.
async fn at_work(
    bus: impl Future<Output = Option<Connection>>,
    name: &InterfaceName,
) -> Option<String> {
    let unit = format!("wg-quick@{name}.service");
    let state = timeout(DEADLINE, async { state_of(&bus.await?, &unit).await });
    let state = state.await.ok().flatten()?;
    matches!(state.as_str(), "activating" | "deactivating" | "reloading")
        .then(|| format!("{unit} is {state}"))
}

async fn state_of(bus: &Connection, unit: &str) -> Option<String> {
    let path = ManagerProxy::new(bus)
        .await
        .ok()?
        .get_unit(unit)
        .await
        .ok()?;
    UnitProxy::builder(bus)
        .path(path)
        .build()
        .await
        .ok()?
        .active_state()
        .await
        .ok()
}

#[cfg(test)]
mod tests {
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
        at_work(late, &InterfaceName::new(interface).unwrap()).await
    }

    #[tokio::test]
    async fn a_machine_that_is_short_of_time_is_waited_for() {
        let said = said_after(Duration::from_millis(300), "activating", "wg0").await;
        assert_eq!(said.as_deref(), Some("wg-quick@wg0.service is activating"));
    }

    #[tokio::test]
    async fn a_unit_that_changes_is_at_work() {
        for state in ["activating", "deactivating", "reloading"] {
            assert_eq!(
                said(state, "wg0").await,
                Some(format!("wg-quick@wg0.service is {state}"))
            );
        }
    }

    #[tokio::test]
    async fn a_unit_at_rest_and_an_unknown_one_are_not() {
        for state in ["active", "inactive", "failed", "maintenance"] {
            assert_eq!(said(state, "wg0").await, None, "{state}");
        }
        assert_eq!(said("activating", "wg1").await, None);
    }

    #[tokio::test]
    async fn without_a_bus_nobody_waits() {
        let name = InterfaceName::new("wg0").unwrap();
        let begun = Instant::now();
        let nobody_listens = async {
            Builder::address("unix:path=/nonexistent/bus")
                .build()
                .await
                .ok()
        };
        assert_eq!(at_work(nobody_listens, &name).await, None);
        assert_eq!(at_work(pending(), &name).await, None, "a bus that hangs");
        assert!(begun.elapsed() < 25 * DEADLINE, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_systemd_that_does_not_answer_is_not_waited_for() {
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
        assert_eq!(at_work(async { Some(client) }, &name).await, None);
        assert!(begun.elapsed() < 25 * DEADLINE, "{:?}", begun.elapsed());
    }
}
