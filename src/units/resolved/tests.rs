//! systemd-resolved and systemd of ours at the other end of a socket.

use std::{
    collections::BTreeMap,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
};

use zbus::{connection::Builder, fdo, wire::ObjectPath};

use super::*;
use crate::units::tests::{FakeUnit, systemd};

/// The calls that it got, one line each.
type Log = Arc<Mutex<Vec<String>>>;

struct Manager(Log);

#[zbus::interface(name = "org.freedesktop.resolve1.Manager")]
impl Manager {
    fn get_link(&self, index: i32) -> fdo::Result<OwnedObjectPath> {
        if index != 3 {
            return Err(fdo::Error::Failed(format!("Link {index} not known")));
        }
        Ok(ObjectPath::try_from("/org/freedesktop/resolve1/link/_33")
            .unwrap()
            .into())
    }

    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, index: i32, servers: Vec<(i32, Vec<u8>)>) {
        self.0
            .lock()
            .unwrap()
            .push(format!("dns {index} {servers:?}"));
    }

    fn set_link_domains(&self, index: i32, domains: Vec<(String, bool)>) {
        self.0
            .lock()
            .unwrap()
            .push(format!("domains {index} {domains:?}"));
    }

    fn set_link_default_route(&self, index: i32, enable: bool) {
        self.0
            .lock()
            .unwrap()
            .push(format!("default {index} {enable}"));
    }

    fn revert_link(&self, index: i32) {
        self.0.lock().unwrap().push(format!("revert {index}"));
    }

    fn resolve_record(
        &self,
        index: i32,
        name: &str,
        class: u16,
        kind: u16,
        _flags: u64,
    ) -> Result<(Records, u64), Failure> {
        assert_eq!((index, class, kind), (0, 1, 6));
        match name {
            "good.internal" => Ok((vec![(3, 1, 6, vec![0])], 0)),
            "none.internal" => Err(Failure::Nxdomain("there is none".into())),
            _ => Err(Failure::Aborted("all attempts failed".into())),
        }
    }
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.resolve1")]
enum Failure {
    #[zbus(error)]
    ZBus(zbus::Error),
    #[zbus(name = "DnsError.NXDOMAIN")]
    Nxdomain(String),
    #[zbus(name = "QueryTimedOut")]
    Aborted(String),
}

struct Link;

#[zbus::interface(name = "org.freedesktop.resolve1.Link")]
impl Link {
    #[zbus(property, name = "DNS")]
    fn dns(&self) -> Vec<(i32, Vec<u8>)> {
        vec![(2, vec![10, 10, 0, 1]), (7, vec![1])]
    }
    #[zbus(property)]
    fn domains(&self) -> Vec<(String, bool)> {
        vec![("a.internal".into(), true)]
    }
    #[zbus(property)]
    fn default_route(&self) -> bool {
        false
    }
}

/// The bus itself.
struct Bus(bool);

#[zbus::interface(name = "org.freedesktop.DBus")]
impl Bus {
    fn name_has_owner(&self, name: &str) -> bool {
        self.0 && name == NAME
    }
}

/// A client of one that is there or not. Keep the connection.
async fn resolved(is_there: bool) -> (Result<Resolved, UnitsError>, Log, Connection) {
    let log = Log::default();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = Builder::unix_stream(theirs)
        .server(zbus::Guid::generate())
        .p2p()
        .serve_at("/org/freedesktop/DBus", Bus(is_there))
        .serve_at("/org/freedesktop/resolve1", Manager(Arc::clone(&log)))
        .serve_at("/org/freedesktop/resolve1/link/_33", Link);
    let client = Builder::unix_stream(ours).p2p().build();
    let (server, client) = tokio::join!(server.build(), client);
    let resolved = Resolved::over(client.unwrap()).await;
    (resolved, log, server.unwrap())
}

#[tokio::test]
async fn a_link_is_read_set_and_reverted() {
    let (resolved, log, _bus) = resolved(true).await;
    let resolved = resolved.unwrap();
    let found = resolved.link(3).await.unwrap();
    assert_eq!(found.to_string(), "10.10.0.1 ~a.internal");
    assert!(!found.default_route);
    assert!(matches!(
        resolved.link(4).await,
        Err(UnitsError::Refused(_))
    ));

    let both = LinkDns {
        servers: vec![[10, 10, 0, 1].into(), "fd00::1".parse().unwrap()],
        ..found
    };
    resolved.set(3, &both).await.unwrap();
    resolved.revert(3).await.unwrap();
    let calls = log.lock().unwrap().clone();
    assert_eq!(
        calls,
        [
            "default 3 false",
            "domains 3 [(\"a.internal\", true)]",
            "dns 3 [(2, [10, 10, 0, 1]), (10, [253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])]",
            "revert 3",
        ]
    );
}

#[tokio::test]
async fn that_a_zone_does_not_exist_is_an_answer() {
    let (resolved, _, _bus) = resolved(true).await;
    let resolved = resolved.unwrap();
    let ask = async |zone| resolved.resolve(&Zone::parse(zone).unwrap()).await;
    assert_eq!(ask("good.internal").await, Ok(()));
    assert_eq!(ask("none.internal").await, Ok(()));
    let why = ask("dead.internal").await.unwrap_err();
    assert!(why.contains("all attempts failed"), "{why}");
}

#[tokio::test]
async fn one_that_does_not_run_is_not_started_by_asking() {
    let (resolved, _, _bus) = resolved(false).await;
    let error = resolved.unwrap_err();
    assert!(matches!(error, UnitsError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn only_one_that_is_enabled_and_has_failed_is_started() {
    let states: BTreeMap<&str, (bool, &str)> = [
        (
            "failed",
            (
                true,
                "reset-failed systemd-resolved.service, start systemd-resolved.service",
            ),
        ),
        ("inactive", (false, "")),
        ("active", (false, "")),
    ]
    .into();
    for (active, (started, calls)) in states {
        let unit = FakeUnit {
            active,
            ..FakeUnit::default()
        };
        let (systemd, log, _bus) = systemd([(RESOLVED, unit)], FakeUnit::default()).await;
        assert_eq!(systemd.revive_resolved().await, Ok(started), "{active}");
        assert_eq!(log.lock().unwrap().join(", "), calls, "{active}");
    }
    // What is not known to systemd is not enabled.
    let (systemd, log, _bus) = systemd([], FakeUnit::default()).await;
    assert_eq!(systemd.revive_resolved().await, Ok(false));
    assert!(log.lock().unwrap().is_empty());
    let unit = FakeUnit {
        active: "failed",
        job: Some("failed"),
        ..FakeUnit::default()
    };
    let (systemd, _, _bus) = systemd_with(unit).await;
    let error = systemd.revive_resolved().await.unwrap_err();
    assert!(error.to_string().contains("ended as failed"), "{error}");
}

async fn systemd_with(unit: FakeUnit) -> (Systemd, crate::units::tests::Log, Connection) {
    systemd([(RESOLVED, unit)], FakeUnit::default()).await
}
