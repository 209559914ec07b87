use std::os::unix::net::UnixStream;

use zbus::{
    connection::Builder,
    fdo,
    wire::{ObjectPath, OwnedObjectPath},
};

use super::*;
use crate::units::proxy::UnitRow;

/// A systemd with one service for the clock that runs, under two names, and one that has
/// ended.
struct Fake;

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Fake {
    fn subscribe(&self) {}

    fn list_units_by_names(&self, names: Vec<String>) -> Vec<UnitRow> {
        let path: OwnedObjectPath = ObjectPath::try_from("/").unwrap().into();
        let row = |name: &String| {
            let (name, active) = match name.as_str() {
                "chrony.service" | "chronyd.service" => ("chrony.service", "active"),
                "ntp.service" => ("ntp.service", "failed"),
                name => (name, "inactive"),
            };
            let text = || String::new();
            let (name, active) = (name.to_owned(), active.to_owned());
            let (path, object) = (path.clone(), path.clone());
            (
                name,
                text(),
                text(),
                active,
                text(),
                text(),
                path,
                0,
                text(),
                object,
            )
        };
        names.iter().map(row).collect()
    }
}

/// Its service for the clock; `None`: it refuses.
struct Clock(Option<bool>);

#[zbus::interface(name = "org.freedesktop.timedate1")]
impl Clock {
    #[zbus(property, name = "NTPSynchronized")]
    fn ntp_synchronized(&self) -> fdo::Result<bool> {
        self.0.ok_or_else(|| fdo::Error::AccessDenied("no".into()))
    }
}

#[tokio::test]
async fn keepers_are_as_systemd_says() {
    for kept in [Some(true), Some(false), None] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let systemd = Builder::unix_stream(theirs)
            .server(zbus::Guid::generate())
            .p2p()
            .serve_at("/org/freedesktop/systemd1", Fake)
            .serve_at("/org/freedesktop/timedate1", Clock(kept))
            .build();
        let client = Builder::unix_stream(ours).p2p().build();
        let (systemd, client) = tokio::join!(systemd, client);
        let (_systemd, client) = (systemd.unwrap(), client.unwrap());
        let keepers = Systemd::over(client).await.unwrap().clock_keepers().await;
        match kept {
            Some(kept) => {
                let units = vec!["chrony.service".to_owned()];
                assert_eq!(keepers.unwrap(), ClockKeepers { units, kept });
            }
            None => assert!(matches!(keepers, Err(UnitsError::Refused(_)))),
        }
    }
}
