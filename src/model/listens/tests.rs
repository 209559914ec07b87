use proptest::prelude::*;

use super::*;

fn places() -> impl Strategy<Value = Vec<Listen>> {
    let addresses = ["0.0.0.0", "127.0.0.1", "192.168.50.10"];
    let protocols = [Protocol::Tcp, Protocol::Udp];
    let place =
        (0..3_usize, 1..6_u16, 0..2_usize).prop_map(move |(address, port, protocol)| Listen {
            protocol: protocols[protocol],
            listen_address: addresses[address].parse().unwrap(),
            listen_port: port.try_into().unwrap(),
        });
    prop::collection::vec(place, 1..12)
}

proptest! {
    #[test]
    fn finds_what_a_search_of_all_finds(all in places(), asked in places()) {
        let listens: Listens = all.iter().copied().collect();
        for at in asked {
            prop_assert_eq!(listens.contains(&at), all.contains(&at));
            let overlaps = all.iter().any(|one| one.overlaps(&at));
            prop_assert_eq!(listens.overlaps(&at), overlaps);
        }
    }

    #[test]
    fn the_order_in_which_they_come_does_not_matter(all in places(), more in places()) {
        let mut one: Listens = all.iter().copied().collect();
        one.extend(more.iter().copied());
        let other: Listens = more.into_iter().rev().chain(all).collect();
        prop_assert_eq!(one, other);
    }
}
