use super::*;

fn counters(active: u32, opened: u64, failed: u64) -> Counters {
    Counters {
        listen: Listen {
            protocol: Protocol::Tcp,
            listen_address: std::net::Ipv4Addr::UNSPECIFIED.into(),
            listen_port: 2222.try_into().unwrap(),
        },
        active,
        opened,
        failed,
        refused: 0,
        bytes_in: 0,
        bytes_out: 0,
    }
}

#[test]
fn a_change_of_counters() {
    let before = counters(1, 5, 2);
    for (after, expected) in [
        (counters(1, 5, 2), Some((0, false, true))),
        (counters(2, 6, 2), Some((1, false, false))),
        (counters(1, 6, 2), Some((1, false, true))),
        (counters(0, 6, 3), Some((1, true, true))),
        // A relay that was started anew.
        (counters(0, 1, 0), None),
        (counters(0, 7, 0), None),
    ] {
        let found = change(&before, &after).map(|one| (one.opened, one.failed, one.ended));
        assert_eq!(found, expected, "{after:?}");
    }
}
