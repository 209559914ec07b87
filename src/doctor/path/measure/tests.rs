use std::convert::Infallible;

use super::*;

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// What is behind a router.
#[derive(Clone, Copy)]
struct Hop {
    /// The most that it passes on.
    mtu: u32,
    /// Whether it says when packets are too big.
    says: bool,
    /// Whether it says when they have passed too many hops.
    expires: bool,
}

const HOP: Hop = Hop {
    mtu: 9000,
    says: true,
    expires: true,
};

/// A path through routers 1, 2, ... to a target.
struct Path {
    hops: Vec<Hop>,
    /// Whether the target answers echo requests, and refuses datagrams.
    echo: bool,
    refuses: bool,
    /// Errors that each may still send at once; one more after each pause.
    errors: usize,
    /// Every so many packets are lost at random.
    flaky: u32,
    /// Rounds until the time is over.
    rounds: usize,
    sent: u32,
}

impl Path {
    fn of(hops: &[Hop]) -> Self {
        Self {
            hops: hops.to_vec(),
            echo: true,
            refuses: true,
            errors: usize::MAX,
            flaky: u32::MAX,
            rounds: 200,
            sent: 0,
        }
    }

    fn error(&mut self, answer: Answer) -> Answer {
        match self.errors {
            0 => Answer::Lost,
            _ => {
                self.errors -= 1;
                answer
            }
        }
    }

    fn one(&mut self, probe: Probe) -> Answer {
        self.sent += 1;
        if self.sent.is_multiple_of(self.flaky) {
            return Answer::Lost;
        }
        for (place, hop) in (1..).zip(self.hops.clone()) {
            if probe.hops == place {
                let expired = Answer::Expired(ip(place));
                return if hop.expires {
                    self.error(expired)
                } else {
                    Answer::Lost
                };
            }
            if probe.size > hop.mtu {
                // Not limited by Linux.
                return if hop.says {
                    Answer::TooBig(ip(place), hop.mtu)
                } else {
                    Answer::Lost
                };
            }
        }
        match probe.kind {
            Kind::Echo if self.echo => Answer::Target,
            Kind::Datagram if self.refuses => self.error(Answer::Target),
            _ => Answer::Lost,
        }
    }
}

impl Wire for Path {
    type Error = Infallible;

    fn ask(&mut self, probes: &[Probe]) -> Result<Vec<Answer>, Infallible> {
        self.rounds = self.rounds.saturating_sub(1);
        Ok(probes.iter().map(|probe| self.one(*probe)).collect())
    }

    fn pause(&mut self) {
        self.errors = self.errors.saturating_add(1);
    }

    fn is_over(&self) -> bool {
        self.rounds == 0
    }
}

fn measured(mut path: Path) -> Option<Measured> {
    measure(&mut path, 1500).unwrap()
}

const TARGET: Ended = Ended::Target;

#[test]
fn the_largest_size_and_who_loses_bigger_ones() {
    let says = |mtu| Hop { mtu, ..HOP };
    let hole = |mtu| Hop {
        mtu,
        says: false,
        ..HOP
    };
    let quiet = Hop {
        expires: false,
        ..HOP
    };
    let beyond = |before, next| Some(Loser::Beyond(before, next));
    let no_echo = |path| Path {
        echo: false,
        ..path
    };
    let silent = |path| Path {
        refuses: false,
        ..no_echo(path)
    };
    let table = [
        ("one link", Path::of(&[]), 1500, None, TARGET, None),
        (
            "all passes",
            Path::of(&[HOP, HOP]),
            1500,
            None,
            TARGET,
            None,
        ),
        (
            "a hop says so",
            Path::of(&[HOP, says(1400), HOP]),
            1400,
            Some(1401),
            TARGET,
            Some(Loser::Says(ip(2), 1400)),
        ),
        (
            "two say so: the narrower one counts",
            Path::of(&[says(1450), says(1300)]),
            1300,
            Some(1301),
            TARGET,
            Some(Loser::Says(ip(2), 1300)),
        ),
        (
            "a hole between two",
            Path::of(&[HOP, hole(1333), HOP]),
            1333,
            Some(1334),
            TARGET,
            beyond(Some(ip(2)), Some(ip(3))),
        ),
        (
            "a hole before the target",
            Path::of(&[HOP, hole(1280)]),
            1280,
            Some(1281),
            TARGET,
            beyond(Some(ip(2)), None),
        ),
        (
            "a hole at the first hop",
            Path::of(&[hole(1499)]),
            1499,
            Some(1500),
            TARGET,
            beyond(Some(ip(1)), None),
        ),
        (
            "behind one that says so",
            Path::of(&[says(1450), hole(1200), HOP]),
            1200,
            Some(1201),
            TARGET,
            beyond(Some(ip(2)), Some(ip(3))),
        ),
        (
            "hops that say nothing at all",
            Path::of(&[
                quiet,
                Hop {
                    mtu: 1100,
                    says: false,
                    ..quiet
                },
            ]),
            1100,
            Some(1101),
            TARGET,
            beyond(None, None),
        ),
        (
            "no echo",
            no_echo(Path::of(&[HOP, hole(1400)])),
            1400,
            Some(1401),
            TARGET,
            beyond(Some(ip(2)), None),
        ),
        (
            "a silent target",
            silent(Path::of(&[HOP, HOP])),
            1500,
            None,
            Ended::Hop(ip(2)),
            None,
        ),
        (
            "a silent target behind a hole",
            silent(Path::of(&[HOP, hole(1400), HOP])),
            1400,
            Some(1401),
            Ended::Hop(ip(3)),
            beyond(Some(ip(2)), Some(ip(3))),
        ),
        (
            "one packet of seven is lost",
            Path {
                flaky: 7,
                ..Path::of(&[HOP, says(1400)])
            },
            1400,
            Some(1401),
            TARGET,
            Some(Loser::Says(ip(2), 1400)),
        ),
        (
            "the least",
            Path::of(&[hole(101)]),
            101,
            Some(102),
            TARGET,
            beyond(Some(ip(1)), None),
        ),
    ];
    for (case, path, passes, lost, ended, loser) in table {
        let expected = Measured {
            passes,
            lost,
            ended,
            loser,
        };
        assert_eq!(measured(path), Some(expected), "{case}");
    }
}

#[test]
fn nothing_is_made_of_silence() {
    let unreachable = Path {
        echo: false,
        refuses: false,
        ..Path::of(&[Hop {
            expires: false,
            ..HOP
        }])
    };
    assert_eq!(measured(unreachable), None);
}

/// Routers and hosts send few errors: what is not answered for that is not lost.
#[test]
fn a_limit_of_errors_is_no_loss() {
    let hole = Hop {
        mtu: 1300,
        says: false,
        ..HOP
    };
    for (case, refuses, ended) in [
        ("a host", true, TARGET),
        ("a router", false, Ended::Hop(ip(2))),
    ] {
        let path = Path {
            echo: false,
            refuses,
            errors: 6,
            ..Path::of(&[hole, HOP])
        };
        let found = measured(path).unwrap();
        assert_eq!(
            (found.passes, found.lost, found.ended),
            (1300, Some(1301), ended),
            "{case}"
        );
    }
}

#[test]
fn the_end_of_the_time_leaves_a_range() {
    let hole = Hop {
        mtu: 1300,
        says: false,
        ..HOP
    };
    let found = measured(Path {
        rounds: 6,
        ..Path::of(&[hole])
    })
    .unwrap();
    assert!(
        found.passes <= 1300 && found.lost.is_some_and(|lost| lost > 1300),
        "{found:?}"
    );
}

#[test]
fn a_good_path_takes_few_packets() {
    let count = |hops: &[Hop]| {
        let mut path = Path::of(hops);
        measure(&mut path, 1500).unwrap();
        path.sent
    };
    let good = count(&[HOP; 3]);
    let says = count(&[HOP, Hop { mtu: 1400, ..HOP }]);
    assert!(good <= 4 && says <= 8, "{good}, {says}");
    let hole = count(&[
        HOP,
        Hop {
            mtu: 1400,
            says: false,
            ..HOP
        },
    ]);
    assert!(hole <= 200, "{hole}");
}

proptest::proptest! {
    /// Whatever passes is found to the byte.
    #[test]
    fn exact(mtus in proptest::collection::vec((101u32..2000, proptest::bool::ANY), 0..5), echo in proptest::bool::ANY) {
        let hops: Vec<Hop> = mtus.iter().map(|(mtu, says)| Hop { mtu: *mtu, says: *says, expires: true }).collect();
        let narrowest = mtus.iter().map(|(mtu, _)| *mtu).min().unwrap_or(1500).min(1500);
        let found = measured(Path { echo, ..Path::of(&hops) }).unwrap();
        proptest::prop_assert_eq!(found.passes, narrowest);
        proptest::prop_assert_eq!(found.lost, (narrowest < 1500).then_some(narrowest + 1));
        proptest::prop_assert_eq!(found.loser.is_some(), narrowest < 1500);
    }
}
