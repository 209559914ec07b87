use std::os::unix::net::UnixStream;

use zbus::{
    connection::Builder,
    fdo,
    wire::{ObjectPath, OwnedObjectPath},
};

use super::*;
use crate::units::proxy::UnitRow;

/// A systemd with an agent that is disabled and a tunnel that has failed.
struct Fake;

fn row(name: &str, load: &str, active: &str) -> UnitRow {
    let path: OwnedObjectPath = ObjectPath::try_from("/").unwrap().into();
    let text = |text: &str| text.to_owned();
    (
        text(name),
        text(""),
        text(load),
        text(active),
        text(""),
        text(""),
        path.clone(),
        0,
        text(""),
        path,
    )
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Fake {
    fn list_units_filtered(&self, states: Vec<String>) -> Vec<UnitRow> {
        assert_eq!(states, ["failed"]);
        vec![row("wg-quick@wg0.service", "loaded", "failed")]
    }

    fn list_units_by_names(&self, names: Vec<String>) -> Vec<UnitRow> {
        names
            .iter()
            .map(|name| match name.as_str() {
                "wslmesh.service" => row(name, "loaded", "active"),
                name => row(name, "not-found", "inactive"),
            })
            .collect()
    }

    fn get_unit_file_state(&self, name: &str) -> fdo::Result<String> {
        assert_eq!(name, "wslmesh.service");
        Ok("disabled".to_owned())
    }
}

/// Its service for the clock.
struct Clock;

#[zbus::interface(name = "org.freedesktop.timedate1")]
impl Clock {
    #[zbus(property, name = "NTPSynchronized")]
    fn ntp_synchronized(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn units_are_as_systemd_says() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let systemd = Builder::unix_stream(theirs)
        .server(zbus::Guid::generate())
        .p2p()
        .serve_at("/org/freedesktop/systemd1", Fake)
        .serve_at("/org/freedesktop/timedate1", Clock)
        .build();
    let client = Builder::unix_stream(ours).p2p().build();
    let (systemd, client) = tokio::join!(systemd, client);
    let (_systemd, client) = (systemd.unwrap(), client.unwrap());
    let units = ask(&client).await.unwrap();
    assert_eq!(units.clock_kept, Some(true));
    assert_eq!(units.failed, ["wg-quick@wg0.service"]);
    let state = UnitState {
        active: "active".into(),
        file: "disabled".into(),
    };
    assert_eq!(units.states, [("wslmesh.service".to_owned(), state)].into());
}
