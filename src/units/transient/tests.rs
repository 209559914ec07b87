use super::*;
use crate::units::tests::{self as testing, FakeUnit};

async fn ran(hooks: FakeUnit) -> (JobOutcome, Vec<String>) {
    let (systemd, log, _bus) = testing::systemd([], hooks).await;
    let hook = Hook {
        name: "10-dns".to_owned(),
        path: "/etc/wslmesh/hooks.d/address-changed/10-dns".into(),
        program: "/usr/local/sbin/dns".into(),
    };
    let environment = ["WSLMESH_EVENT=x", "WSLMESH_KEY="].map(str::to_owned);
    let environment = environment.to_vec();
    let ran = systemd
        .run(&hook, environment, Duration::from_secs(30), || {
            let before = log.lock().unwrap().len();
            log.lock().unwrap().push(format!("begun after {before}"));
        })
        .await;
    let log = log.lock().unwrap().clone();
    (ran.unwrap(), log)
}

#[tokio::test]
async fn hook_runs_as_a_unit_with_its_environment() {
    let (ran, log) = ran(FakeUnit::default()).await;
    assert!(ran.is_done() && ran.status == Some(0), "{ran:?}");
    assert_eq!(log[0], "begun after 0", "nothing was sent before");
    let has = |line: &str| assert!(log.iter().any(|l| l == line), "{line}\n{log:#?}");
    has("Type=\"oneshot\"");
    has("ExecStart=[(\"/usr/local/sbin/dns\", [\"/usr/local/sbin/dns\"], false)]");
    has("Environment=[\"WSLMESH_EVENT=x\", \"WSLMESH_KEY=\"]");
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
