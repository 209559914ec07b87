use super::*;

#[test]
fn due_once_in_each_period_and_only_while_there_are_rules() {
    let (hour, begin) = (Duration::from_secs(3600), Instant::now());
    let mut verify = Verify::new(true);
    verify.follow(None, true, begin);
    assert!(!verify.is_due(begin + hour * 9), "it is off");
    verify.follow(Some(hour), false, begin);
    assert!(!verify.is_due(begin + hour * 9), "there is nothing to lose");
    verify.follow(Some(hour), true, begin);
    // Passes in between put nothing off.
    verify.follow(Some(hour), true, begin + hour / 2);
    assert!(!verify.is_due(begin + hour - Duration::from_secs(1)));
    assert!(verify.take_due(begin + hour));
    assert!(
        !verify.is_due(begin + hour * 2),
        "until Windows has answered"
    );
    verify.follow(Some(hour), true, begin + hour);
    assert!(verify.is_due(begin + hour * 2));
    verify.asked();
    verify.follow(Some(hour), true, begin + hour);
    // A shorter period counts at once.
    verify.follow(Some(hour / 60), true, begin + hour);
    assert!(verify.is_due(begin + hour + hour / 60));
}

#[test]
fn it_has_a_timer_where_no_watchdog_comes() {
    let (minute, begin) = (Duration::from_secs(60), Instant::now());
    for has_watchdog in [true, false] {
        let mut verify = Verify::new(has_watchdog);
        assert_eq!(verify.timer(), None);
        verify.follow(Some(minute), true, begin);
        assert_eq!(verify.timer().is_some(), !has_watchdog);
        verify.follow(Some(minute), false, begin);
        assert_eq!(verify.timer(), None);
    }
}
