use super::*;
use crate::{
    doctor::{Loser, NamedPeer, Target},
    model::{InterfaceName, PublicKey},
};

fn report(below: Option<Measured>) -> PathReport {
    let side = |name: &str, mtu, measured| Side {
        interface: InterfaceName::new(name).unwrap(),
        mtu,
        measured,
    };
    PathReport {
        target: Target {
            destination: [10, 0, 0, 2].into(),
            peer: Some(NamedPeer {
                device: InterfaceName::new("wg0").unwrap(),
                key: PublicKey::new([1; 32]),
                endpoint: "192.0.2.1:51820".parse().unwrap(),
                mark: 0,
            }),
        },
        tunnel: side("wg0", 1280, None),
        underlay: Some(side("eth0", 1500, below)),
        adapter: Some(("Tailscale".into(), 1280)),
    }
}

fn narrow() -> PathReport {
    report(Some(Measured {
        passes: 1300,
        lost: Some(1301),
        ended: Ended::Target,
        loser: Some(Loser::Says([192, 0, 2, 7].into(), 1300)),
    }))
}

#[test]
fn the_page() {
    let report = narrow();
    let page = page(&report, &judge(&report));
    assert!(
        page.iter().all(|line| line.chars().count() <= WIDTH),
        "{page:#?}"
    );
    let text = page.join("\n");
    let mut from = 0;
    for part in [
        "10.0.0.2 through wg0 (peer AQEBAQEB, endpoint 192.0.2.1:51820)",
        "  tunnel    nothing answers (wg0 has MTU 1280)",
        "  underlay  1300 bytes pass, 1301 are lost: 192.0.2.7 passes 1300 bytes on and",
        "  needed    1340 bytes below wg0 with its MTU 1280",
        "  Windows   the adapter \"Tailscale\" has the lowest MTU, 1280",
        "  error   path-mtu            wg0 has MTU 1280 and needs 1340 below",
        "          fix: Set value = 1240 in the section [mtu]",
    ] {
        let place = text.get(from..).unwrap().find(part);
        assert!(place.is_some(), "{part} in order in:\n{text}");
        from += place.unwrap();
    }
}

#[test]
fn the_document() {
    let report = narrow();
    let document = serde_json::to_value(document(&report, &judge(&report))).unwrap();
    assert_eq!(
        document["underlay"]["lost-by"],
        "192.0.2.7 passes 1300 bytes on and says so"
    );
    assert_eq!(document["underlay"]["answered"], "192.0.2.1");
    assert_eq!(document["tunnel"]["passes"], serde_json::Value::Null);
    assert_eq!(document["findings"][0]["code"], "path-mtu");
    assert_eq!(document["windows-adapter"]["name"], "Tailscale");
    assert_eq!(
        (&document["fits"], &document["needed"]),
        (&false.into(), &1340.into())
    );
}
