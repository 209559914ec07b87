use super::*;
use crate::{
    model::ModeState,
    units::tests::{self as testing, FakeUnit},
};

fn change() -> AddressChange {
    AddressChange {
        old: [172, 28, 16, 5].into(),
        new: testing::node("172.28.27.77/20", Some([172, 28, 16, 1])),
        mode: ModeState::Known(crate::model::Mode::Nat),
    }
}

async fn ran(hooks: FakeUnit) -> (JobOutcome, Vec<String>) {
    let (systemd, log, _bus) = testing::systemd([], hooks).await;
    let hook = Hook {
        name: "10-dns".to_owned(),
        path: "/etc/wslmesh/hooks.d/address-changed/10-dns".into(),
        program: "/usr/local/sbin/dns".into(),
    };
    let ran = systemd
        .run(&hook, &change(), Duration::from_secs(30), || {
            let before = log.lock().unwrap().len();
            log.lock().unwrap().push(format!("begun after {before}"));
        })
        .await;
    let log = log.lock().unwrap().clone();
    (ran.unwrap(), log)
}

#[tokio::test]
async fn hook_runs_as_a_unit_with_the_change_in_its_environment() {
    let (ran, log) = ran(FakeUnit::default()).await;
    assert!(ran.is_done() && ran.status == Some(0), "{ran:?}");
    assert_eq!(log[0], "begun after 0", "nothing was sent before");
    let has = |line: &str| assert!(log.iter().any(|l| l == line), "{line}\n{log:#?}");
    has("Type=\"oneshot\"");
    has("ExecStart=[(\"/usr/local/sbin/dns\", [\"/usr/local/sbin/dns\"], false)]");
    has(
        "Environment=[\"WSLMESH_EVENT=address-changed\", \"WSLMESH_INTERFACE=eth0\", \"WSLMESH_ADDRESS_OLD=172.28.16.5\", \"WSLMESH_ADDRESS_NEW=172.28.27.77\", \"WSLMESH_MODE=nat\", \"WSLMESH_GATEWAY=172.28.16.1\"]",
    );
    has("TimeoutStartUSec=uint64 30000000");
    has("KillMode=\"control-group\"");
    has("AddRef=true");
    let started = log.last().unwrap();
    assert!(
        started.starts_with("start wslmesh-hook-10-dns-") && started.ends_with(".service"),
        "{started}"
    );
}

#[tokio::test]
async fn failed_hook_has_its_reason() {
    let unit = |result, exit| FakeUnit {
        job: Some("failed"),
        result,
        exit,
        ..FakeUnit::default()
    };
    let table = [
        (
            unit("exit-code", (1, 3)),
            "exit-code",
            Some(3),
            "exit status 3",
        ),
        (unit("signal", (2, 9)), "signal", None, "ended by signal 9"),
        (
            unit("timeout", (2, 15)),
            "timeout",
            None,
            "it was still running after 30s and was stopped",
        ),
        (
            unit("resources", (0, 0)),
            "resources",
            None,
            "failed (resources)",
        ),
    ];
    for (unit, result, status, detail) in table {
        assert_eq!(
            ran(unit).await.0,
            JobOutcome {
                status,
                ..JobOutcome::new(result, detail)
            }
        );
    }
}

#[test]
fn unknown_facts_are_marked_as_such() {
    let mut change = change();
    (change.new.gateway, change.mode) = (None, ModeState::Pending);
    let environment = environment(&change);
    assert!(environment.contains(&"WSLMESH_GATEWAY=".to_owned()));
    assert!(environment.contains(&"WSLMESH_MODE=unknown".to_owned()));
}

#[test]
fn ipv6_has_no_brackets() {
    let mut change = change();
    change.old = "2001:db8::4".parse().unwrap();
    change.new.net = "2001:db8::5/64".parse().unwrap();
    change.new.gateway = Some("fe80::1".parse().unwrap());
    let environment = environment(&change);
    for line in [
        "WSLMESH_ADDRESS_OLD=2001:db8::4",
        "WSLMESH_ADDRESS_NEW=2001:db8::5",
        "WSLMESH_GATEWAY=fe80::1",
    ] {
        assert!(environment.iter().any(|one| one == line), "{environment:?}");
    }
}
