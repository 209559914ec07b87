use super::*;

fn name(number: usize) -> EndpointName {
    EndpointName::parse(&format!("peer{number:04}.example.org:51820")).unwrap()
}

fn moved(names: impl IntoIterator<Item = EndpointName>) -> LookedUp {
    let to = [192, 0, 2, 9].into();
    LookedUp {
        moved: names.into_iter().map(|name| (name, to)).collect(),
        ..LookedUp::default()
    }
}

fn failed(name: EndpointName) -> LookedUp {
    LookedUp {
        failed: BTreeMap::from([(name, "no answer".to_owned())]),
        ..LookedUp::default()
    }
}

/// At once, then after 5 s, doubling to 5 min, and up to a quarter more.
#[test]
fn look_ups_become_rare() {
    let (hub, mut now) = (name(1), Instant::now());
    let mut attempts = Attempts::default();
    assert_eq!(attempts.due(), None);
    for delay in [0, 5, 10, 20, 40, 80, 160, 300, 300, 300] {
        attempts.update(&BTreeSet::from([&hub]), now);
        let due = attempts.due().unwrap();
        let waits = due.duration_since(now).as_secs_f64();
        let (least, most) = (f64::from(delay), f64::from(delay) * 1.25);
        assert!((least..=most).contains(&waits), "{waits} of {delay}");
        if delay > 0 {
            let early = due - Duration::from_millis(1);
            assert!(attempts.begin(early).0.is_empty());
        }
        now = due;
        let (asked, _) = attempts.begin(now);
        assert_eq!(asked, BTreeSet::from([hub.clone()]));
        assert!(attempts.begin(now).0.is_empty(), "it is looked up once");
        assert_eq!(attempts.due(), None, "while it is");
        attempts.record(&asked, LookedUp::default(), now);
    }
    attempts.update(&BTreeSet::new(), now);
    assert_eq!(attempts.due(), None, "its peers answer");
    attempts.update(&BTreeSet::from([&hub]), now);
    assert!(
        attempts.due().unwrap() <= now + BETWEEN,
        "from the beginning"
    );
}

/// A thousand that go silent at once: each once, a few in each second.
#[test]
fn a_thousand_names_are_no_storm() {
    let names: Vec<EndpointName> = (0..1_000).map(name).collect();
    let (begun, mut attempts) = (Instant::now(), Attempts::default());
    let mut now = begun;
    let mut first: BTreeMap<EndpointName, usize> = BTreeMap::new();
    while first.len() < names.len() {
        attempts.update(&names.iter().collect(), now);
        let due = attempts.due().unwrap();
        assert!(due >= now && (now == begun || due - now >= BETWEEN));
        now = due;
        let (asked, _) = attempts.begin(now);
        assert!((1..=NAMES).contains(&asked.len()));
        for name in &asked {
            *first.entry(name.clone()).or_default() += 1;
        }
        attempts.record(&asked, LookedUp::default(), now);
    }
    // Those that are due again wait behind those that were not looked up yet.
    let again = first.values().filter(|times| **times > 1).count();
    assert!(again < NAMES, "{again} of the last set");
    let took = now.duration_since(begun).as_secs();
    assert!((30..=33).contains(&took), "{took} s");
}

#[test]
fn an_address_has_time_to_answer() {
    let (hub, mut now) = (name(1), Instant::now());
    let mut attempts = Attempts::default();
    let mut turns = Vec::new();
    for moves in [false, true, false, true, true] {
        attempts.update(&BTreeSet::from([&hub]), now);
        now = attempts.due().unwrap();
        let (asked, next) = attempts.begin(now);
        turns.push(!next.is_empty());
        let found = match moves {
            true => moved([hub.clone()]),
            false => LookedUp::default(),
        };
        attempts.record(&asked, found, now);
    }
    // Not at the first look-up; then it has had 5 s where it was, and moves; 10 s there.
    assert_eq!(turns, [false, true, true, true, true]);
    let mut attempts = Attempts::default();
    let mut turns = Vec::new();
    for moves in [true, false, false] {
        attempts.update(&BTreeSet::from([&hub]), now);
        now = attempts.due().unwrap();
        let (asked, next) = attempts.begin(now);
        turns.push(!next.is_empty());
        let found = match moves {
            true => moved([hub.clone()]),
            false => LookedUp::default(),
        };
        attempts.record(&asked, found, now);
    }
    assert_eq!(turns, [false, false, true], "the new one has more than 5 s");
}

#[test]
fn a_name_that_does_not_resolve_is_said_after_two_look_ups() {
    let (hub, mut now) = (name(1), Instant::now());
    let mut attempts = Attempts::default();
    let mut counts = Vec::new();
    for fails in [true, true, true, false, true] {
        attempts.update(&BTreeSet::from([&hub]), now);
        now = attempts.due().unwrap();
        let (asked, _) = attempts.begin(now);
        let found = match fails {
            true => failed(hub.clone()),
            false => LookedUp::default(),
        };
        attempts.record(&asked, found, now);
        counts.push(attempts.findings().len());
    }
    assert_eq!(counts, [0, 1, 1, 0, 0]);
    attempts.update(&BTreeSet::from([&hub]), now);
    now = attempts.due().unwrap();
    let (asked, _) = attempts.begin(now);
    attempts.record(&asked, failed(hub.clone()), now);
    let findings = attempts.findings();
    let expected = Finding::new(
        Code::EndpointUnresolved,
        "peer0001.example.org",
        "no answer",
    );
    assert_eq!(findings, [expected]);
    attempts.update(&BTreeSet::new(), now);
    assert_eq!(attempts.findings(), []);
}
