use super::*;
use wslmesh_relay::protocol::MAX_LINE;

#[test]
fn allowance_is_a_burst_and_a_rate() {
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    let mut allowance = Allowance::new(start);
    assert!(allowance.spend(MAX_BURST, start));
    assert!(!allowance.spend(1, start));
    // 32.768 bytes a millisecond, however often it is asked.
    assert!(allowance.spend(32, at(1)) && !allowance.spend(1, at(1)));
    assert!(allowance.spend(32_000, at(1001)) && !allowance.spend(1000, at(1001)));
    // No more is saved up than the burst, and a command earns its answer.
    assert!(!allowance.spend(MAX_BURST + 1, at(1 << 40)));
    assert!(!allowance.spend(1, at(1 << 40)));
    allowance.add(MAX_LINE);
    assert!(allowance.spend(MAX_LINE, at(1 << 40)) && !allowance.spend(1, at(1 << 40)));
}
