use super::*;

#[test]
fn clients_are_admitted_by_their_address() {
    let own = [
        ([192, 168, 1, 9].into(), 24),
        ([10, 255, 255, 254].into(), 32),
        ([100, 64, 0, 1].into(), 10),
        ([172, 20, 16, 1].into(), 31),
        // No subnets: one of everyone, and what Windows gives where it knows none.
        ([198, 51, 100, 1].into(), 0),
        ([198, 51, 100, 2].into(), 255),
    ];
    let table = [
        // The address, whether it is of this machine, whether it is local.
        ([127, 0, 0, 1], true, true),
        ([127, 9, 8, 7], true, true),
        ([128, 0, 0, 1], false, false),
        ([192, 168, 1, 9], true, true),
        ([192, 168, 1, 1], false, true),
        ([192, 168, 1, 255], false, true),
        ([192, 168, 0, 255], false, false),
        ([192, 168, 2, 9], false, false),
        ([10, 255, 255, 254], true, true),
        ([10, 255, 255, 253], false, false),
        ([100, 127, 255, 255], false, true),
        ([100, 128, 0, 0], false, false),
        ([172, 20, 16, 0], false, true),
        ([172, 20, 16, 2], false, false),
        ([198, 51, 100, 1], true, true),
        ([198, 51, 100, 2], true, true),
        ([198, 51, 100, 3], false, false),
        ([0, 0, 0, 0], false, false),
        ([255, 255, 255, 255], false, false),
    ];
    for (from, is_host, is_local) in table {
        let takes = |admit: Admit, own: &[Interface]| admit.takes(from.into(), own);
        assert_eq!(takes(Admit::Host, &own), is_host, "{from:?}");
        assert_eq!(takes(Admit::Local, &own), is_local, "{from:?}");
        assert!(
            takes(Admit::Any, &own) && takes(Admit::Any, &[]),
            "{from:?}"
        );
        // A machine whose addresses are not known has loopback.
        let is_loopback = from[0] == 127;
        assert_eq!(takes(Admit::Host, &[]), is_loopback, "{from:?}");
        assert_eq!(takes(Admit::Local, &[]), is_loopback, "{from:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_look_serves_a_flood() {
    let neighbourhood = Neighbourhood::default();
    let look = || neighbourhood.last_look.get();
    let stranger = [203, 0, 113, 1].into();
    assert!(neighbourhood.admits(Admit::Any, stranger));
    assert!(neighbourhood.admits(Admit::Host, Ipv4Addr::LOCALHOST));
    assert_eq!(look(), None, "these need none");
    assert!(!neighbourhood.admits(Admit::Host, stranger));
    let first = look();
    assert!(first.is_some());
    let own = neighbourhood.own.borrow().clone();
    assert!(
        own.iter().any(|(address, _)| address.is_loopback()),
        "{own:?}"
    );
    tokio::time::advance(MAX_AGE - Duration::from_millis(1)).await;
    assert!(!neighbourhood.admits(Admit::Local, stranger));
    assert_eq!(look(), first, "the list is fresh");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!neighbourhood.admits(Admit::Local, stranger));
    assert!(look() > first);
}
