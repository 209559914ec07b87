use std::net::IpAddr;

use super::*;
use crate::{
    doctor::path::NamedPeer,
    model::{PublicKey, Severity},
};

fn found(passes: u32, lost: Option<u32>, loser: Option<Loser>) -> Option<Measured> {
    Some(Measured {
        passes,
        lost,
        ended: Ended::Target,
        loser,
    })
}

fn side(name: &str, mtu: u32, measured: Option<Measured>) -> Side {
    Side {
        interface: InterfaceName::new(name).unwrap(),
        mtu,
        measured,
    }
}

fn report(endpoint: &str, tunnel: Option<Measured>, underlay: Option<Measured>) -> PathReport {
    PathReport {
        target: Target {
            destination: [10, 0, 0, 2].into(),
            peer: Some(NamedPeer {
                device: InterfaceName::new("wg0").unwrap(),
                key: PublicKey::new([1; 32]),
                endpoint: endpoint.parse().unwrap(),
                mark: 0,
            }),
        },
        tunnel: side("wg0", 1280, tunnel),
        underlay: Some(side("eth0", 1500, underlay)),
        adapter: None,
    }
}

/// A case, what was measured, and the severity, whether it fits, and what is said of it.
type Case<'a> = (
    &'a str,
    PathReport,
    Option<Severity>,
    Option<bool>,
    &'a [&'a str],
);

#[test]
fn what_sizes_mean() {
    const IPV4: &str = "192.0.2.1:51820";
    const IPV6: &str = "[2001:db8::1]:51820";
    let hop: IpAddr = [192, 0, 2, 7].into();
    let all = found(1280, None, None);
    let wide = found(1500, None, None);
    let says = |mtu: u32| found(mtu, Some(mtu + 1), Some(Loser::Says(hop, mtu)));
    let hole = found(1300, Some(1301), Some(Loser::Beyond(Some(hop), None)));
    let inner = found(1232, Some(1233), Some(Loser::Beyond(None, None)));
    let as_far = wide.map(|found| Measured {
        ended: Ended::Hop(hop),
        ..found
    });
    let local = |mtu, adapter: Option<(&str, u32)>| {
        let mut report = report(IPV4, all, found(mtu, None, None));
        report.underlay = Some(side("eth0", mtu, found(mtu, None, None)));
        report.adapter = adapter.map(|(name, mtu)| (name.to_owned(), mtu));
        report
    };
    let no_endpoint = |tunnel| PathReport {
        target: Target {
            destination: [100, 64, 0, 2].into(),
            peer: None,
        },
        underlay: None,
        ..report(IPV4, tunnel, None)
    };
    const OK: Option<Severity> = None;
    const WARNING: Option<Severity> = Some(Severity::Warning);
    const ERROR: Option<Severity> = Some(Severity::Error);
    let table: Vec<Case<'_>> = vec![
        (
            "it fits",
            report(IPV4, all, wide),
            OK,
            Some(true),
            &["MTU 1280 of wg0 fits: it needs 1340 below, and 1500 pass"],
        ),
        (
            "just enough",
            report(IPV4, all, says(1340)),
            OK,
            Some(true),
            &["and 1340 pass"],
        ),
        (
            "one byte short",
            report(IPV4, all, says(1339)),
            WARNING,
            Some(false),
            &[
                "more than 1279 bytes travel in fragments",
                "192.0.2.7 passes 1339 bytes on and says so",
                "Set value = 1279",
                "IPv6 in the tunnel needs 1280",
            ],
        ),
        (
            "IPv6 needs more",
            report(IPV6, all, says(1359)),
            WARNING,
            Some(false),
            &["needs 1360 below, where 1359 pass"],
        ),
        (
            "IPv6 fits",
            report(IPV6, all, says(1360)),
            OK,
            Some(true),
            &["it needs 1360 below"],
        ),
        (
            "lost in a hole",
            report(IPV4, inner, hole),
            ERROR,
            Some(false),
            &[
                "more than 1240 bytes are lost",
                "a black hole beyond 192.0.2.7",
                "Set value = 1240",
            ],
        ),
        (
            "only the tunnel is narrow",
            report(IPV4, inner, wide),
            ERROR,
            Some(false),
            &[
                "packets of more than 1232 bytes are lost in it or behind it",
                "Set value = 1232",
            ],
        ),
        (
            "the tunnel is silent",
            report(IPV4, None, wide),
            OK,
            Some(true),
            &["through the tunnel nothing answers, so that is not proven"],
        ),
        (
            "silent, and too narrow",
            report(IPV4, None, hole),
            ERROR,
            Some(false),
            &["more than 1240 bytes are lost"],
        ),
        (
            "as far as a hop",
            report(IPV4, all, as_far),
            OK,
            Some(true),
            &["1500 pass as far as 192.0.2.7"],
        ),
        (
            "below it is silence",
            report(IPV4, all, None),
            OK,
            Some(true),
            &["below it nothing answers, so that is not proven"],
        ),
        (
            "its own interface",
            local(1280, None),
            WARNING,
            Some(false),
            &[
                "eth0 has MTU 1280",
                "sudo wslmesh doctor --fix",
                "raises eth0",
                "else set value = 1220",
            ],
        ),
        (
            "and Windows' adapter",
            local(1280, Some(("Tailscale", 1280))),
            WARNING,
            Some(false),
            &["the Windows adapter \"Tailscale\" has MTU 1280, which WSL copies"],
        ),
        (
            "an adapter that is not the cause",
            local(1300, Some(("Ethernet", 1500))),
            WARNING,
            Some(false),
            &["eth0 has MTU 1300"],
        ),
        (
            "another program's tunnel",
            no_endpoint(all),
            OK,
            Some(true),
            &["its endpoint is not known"],
        ),
        (
            "which is narrow",
            no_endpoint(inner),
            ERROR,
            Some(false),
            &["more than 1232 bytes are lost"],
        ),
        (
            "nothing answers",
            report(IPV4, None, None),
            OK,
            None,
            &["neither 10.0.0.2 nor 192.0.2.1 nor a router", "wg show"],
        ),
    ];
    for (case, report, severity, fits, parts) in table {
        let verdict = judge(&report);
        let fixes = verdict
            .findings()
            .iter()
            .map(|finding| finding.remediation.clone());
        let said = format!("{} {}", verdict.detail(), Vec::from_iter(fixes).join(" "));
        assert_eq!(
            (verdict.severity(), report.fits()),
            (severity, fits),
            "{case}: {said}"
        );
        for part in parts {
            assert!(said.contains(part), "{case}: {part:?} in {said:?}");
        }
        let cause = said.contains("Windows adapter");
        assert_eq!(cause, case == "and Windows' adapter", "{case}: {said}");
    }
}

#[test]
fn losers_in_words() {
    let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    for (loser, text) in [
        (Loser::Says(a, 0), "10.0.0.1 says that they are too big"),
        (
            Loser::Beyond(Some(a), Some(b)),
            "a black hole beyond 10.0.0.1 and before 10.0.0.2",
        ),
        (
            Loser::Beyond(None, Some(b)),
            "a black hole before 10.0.0.2, the first hop",
        ),
    ] {
        assert_eq!(lost_by(loser), text);
    }
}
