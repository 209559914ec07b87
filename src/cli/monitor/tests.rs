use super::*;

#[test]
fn an_address_change_is_printed_once() {
    let mut printer = Printer::default();
    let address = |new: &str| {
        Event::Signal(Signal::AddressChanged {
            interface: "eth0".to_owned(),
            old: "10.0.0.1".to_owned(),
            new: new.to_owned(),
        })
    };
    let changed = |changes: &[&str]| {
        Event::Signal(Signal::Changed {
            changes: changes.iter().map(|change| (*change).to_owned()).collect(),
            duration_us: 1000,
        })
    };
    let moved = "eth0 address 10.0.0.1 -> 10.0.0.2";
    assert_eq!(printer.words(&address("10.0.0.2")).as_deref(), Some(moved));
    assert_eq!(
        printer.words(&changed(&[moved, "written"])).as_deref(),
        Some("written (1.0 ms)")
    );
    assert!(
        printer.words(&address("10.0.0.2")).is_some(),
        "a second time"
    );
    assert_eq!(printer.words(&changed(&[moved])), None);
    assert!(printer.words(&changed(&[moved])).is_some(), "another pass");
}

#[test]
fn a_lost_address_is_printed_once() {
    let mut printer = Printer::default();
    let lost = Event::Signal(Signal::AddressChanged {
        interface: "eth0".to_owned(),
        old: "10.0.0.1".to_owned(),
        new: String::new(),
    });
    let line = "eth0 address 10.0.0.1 is lost";
    assert_eq!(printer.words(&lost).as_deref(), Some(line));
    // As the agent lists it among the changes of the pass.
    let changed = Event::Signal(Signal::Changed {
        changes: vec![line.to_owned()],
        duration_us: 1000,
    });
    assert_eq!(printer.words(&changed), None);
}

#[test]
fn each_change_of_a_contested_value_is_printed() {
    let mut printer = Printer::default();
    for round in 0..3 {
        for change in ["wg0 mtu 1420 -> 1280", "wg0 mtu 1280 -> 1420"] {
            let event = Event::Signal(Signal::Changed {
                changes: vec![change.to_owned()],
                duration_us: 1000,
            });
            assert_eq!(
                printer.words(&event),
                Some(format!("{change} (1.0 ms)")),
                "{round}"
            );
        }
    }
}

#[test]
fn times_are_local() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let table = [
        (1_790_000_000_999, "2026-09-21 16:13:20"),
        (1_800_000_000_000, "2027-01-15 09:00:00"),
    ];
    for (unix_ms, text) in table {
        let at = Timestamp::from_millisecond(unix_ms).unwrap();
        assert_eq!(time(zone.clone(), at), text);
    }
    assert_eq!(
        time(TimeZone::UTC, Timestamp::UNIX_EPOCH),
        "1970-01-01 00:00:00"
    );
}
