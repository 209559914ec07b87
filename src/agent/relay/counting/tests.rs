use super::*;
use crate::model::{Counters, Listen, Protocol};

fn counted(opened: u64) -> CountedForward {
    CountedForward {
        name: "wg".to_owned(),
        counters: Counters {
            listen: Listen {
                protocol: Protocol::Udp,
                listen_address: [0; 4].into(),
                listen_port: std::num::NonZeroU16::new(51820).unwrap(),
            },
            active: 2,
            opened,
            failed: 0,
            refused: 0,
            bytes_in: 1_000_000,
            bytes_out: 7,
        },
    }
}

#[test]
fn one_question_has_one_answer() {
    let mut counting = Counting::default();
    assert!(!counting.answered(Vec::new()));
    assert_eq!(counting.last(), None);
    counting.asked = true;
    assert!(counting.answered(vec![counted(3)]));
    let taken = counting.last().unwrap().taken_unix_ms;
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
    assert!(taken > 1_700_000_000_000 && taken <= now);
    assert!(!counting.answered(Vec::new()), "one question, one answer");
    assert_eq!(counting.last().unwrap().forwards, [counted(3)]);
    counting.asked = true;
    assert!(counting.answered(Vec::new()));
    assert!(counting.last().unwrap().taken_unix_ms > taken);
}
