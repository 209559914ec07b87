use super::*;
use crate::{config::Backend, host::setup::policy::VERSION, model::SyncMode};

fn policy(ports: &[&str], profiles: &str, logon: bool) -> Policy {
    Policy {
        version: VERSION,
        package: "0.1.0".into(),
        distribution: "Debian".to_owned().try_into().unwrap(),
        logon,
        mode: SyncMode::Nat,
        profiles: profiles.parse().unwrap(),
        grants: ports.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

#[test]
fn changes_are_shown_line_by_line() {
    let old = policy(&["tcp:2222:22", "tcp:5000-5010"], "domain,private", true);
    assert_eq!(difference(Some(&old), &old), [""; 0]);
    let mut newer = policy(
        &["tcp:2222:22", "udp:51820"],
        "public,domain,private",
        false,
    );
    newer.mode = SyncMode::Mirrored;
    newer.grants[1].backend = Backend::Relay;
    newer.distribution = "Other".to_owned().try_into().unwrap();
    let expected = [
        "- tcp   5000-5010 -> 5000-5010   on 0.0.0.0         from the local subnet\n    no forward needs it; keep it with --ports tcp:5000-5010",
        "+ udp       51820 -> 51820       on 0.0.0.0         from the local subnet, by the relay",
        "~ mode: nat -> mirrored",
        "~ networks: domain, private -> domain, private, public",
        "~ at logon: start the distribution -> nothing",
        "~ distribution: Debian -> Other",
    ];
    assert_eq!(difference(Some(&old), &newer), expected);
    assert_eq!(
        difference(None, &old),
        [
            "+ tcp        2222 -> 22          on 0.0.0.0         from the local subnet",
            "+ tcp   5000-5010 -> 5000-5010   on 0.0.0.0         from the local subnet",
        ]
    );
}

#[test]
fn replaced_grant_needs_no_option() {
    let old = policy(&["tcp:5000-5010"], "domain", true);
    let new = policy(&["tcp:5000-5001"], "domain", true);
    let lines = difference(Some(&old), &new);
    assert_eq!(lines.len(), 2);
    assert!(
        lines.iter().all(|line| !line.contains("--ports")),
        "{lines:?}"
    );
}

#[test]
fn order_of_grants_matters() {
    let old = policy(&["tcp:1", "tcp:2"], "domain", true);
    let new = policy(&["tcp:2", "tcp:1"], "domain", true);
    assert_eq!(
        difference(Some(&old), &new),
        ["~ the same ports in another order"]
    );
}
