//! Whether systemd is changing the unit that owns an interface.

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

/// The state of wg-quick's unit while it brings this interface up or down: setting
/// anything then races with it. `None` also where systemd does not answer.
pub(super) async fn wg_quick_busy(name: &InterfaceName) -> Option<String> {
    busy(async { Connection::system().await.ok() }, name).await
}

/// The same over a bus that is still being connected to, within one deadline.
async fn busy(
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
}
