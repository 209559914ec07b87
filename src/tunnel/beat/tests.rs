use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn traffic(sent: u64, heard: u64) -> Traffic {
    Traffic { sent, heard }
}

#[test]
fn idle_tunnel_has_nothing_due() {
    let begin = Instant::now();
    let mut beat = Beat::default();
    assert_eq!(beat.due(), None);
    assert_eq!(beat.expire(begin + ms(60_000), traffic(0, 0)), Due::Nothing);
    beat.asked(begin, traffic(1, 0));
    beat.answered();
    assert_eq!(beat.expire(begin + ms(500), traffic(1, 1)), Due::Quiet);
    assert_eq!((beat, beat.due()), (Beat::Idle, None));
}

#[test]
fn asked_each_half_second_while_packets_are_sent() {
    let begin = Instant::now();
    let mut beat = Beat::default();
    beat.asked(begin, traffic(1, 0));
    // Also where it answers before the next packet is sent.
    beat.answered();
    assert_eq!(beat.due(), Some(begin + ms(500)));
    assert_eq!(beat.expire(begin + ms(499), traffic(3, 1)), Due::Nothing);
    assert_eq!(beat.expire(begin + ms(500), traffic(3, 1)), Due::Ask);
    beat.asked(begin + ms(500), traffic(3, 1));
    beat.answered();
    assert_eq!(beat.due(), Some(begin + ms(1000)));
}

#[test]
fn silent_switch_is_dead_after_a_second_and_a_half() {
    let begin = Instant::now();
    let mut beat = Beat::default();
    beat.asked(begin, traffic(1, 7));
    assert_eq!(beat.due(), Some(begin + ms(1500)));
    assert_eq!(beat.expire(begin + ms(1499), traffic(9, 7)), Due::Nothing);
    assert_eq!(beat.expire(begin + ms(1500), traffic(9, 7)), Due::Dead);
}

#[test]
fn switch_that_sends_packets_is_alive_without_an_answer() {
    let begin = Instant::now();
    let mut beat = Beat::default();
    beat.asked(begin, traffic(1, 7));
    assert_eq!(beat.expire(begin + ms(1500), traffic(1, 8)), Due::Nothing);
    assert_eq!(beat.due(), Some(begin + ms(3000)));
    assert_eq!(beat.expire(begin + ms(3000), traffic(1, 8)), Due::Dead);
}
