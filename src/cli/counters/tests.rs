use super::*;

fn entry(name: &str, opened: u64, bytes_in: u64) -> CountedForward {
    let text = format!(
        r#"{{"name":"{name}","protocol":"udp","listen-address":"0.0.0.0","listen-port":1,"active":4294967295,"opened":{opened},"failed":0,"refused":7,"bytes-in":{bytes_in},"bytes-out":0}}"#
    );
    serde_json::from_str(&text).unwrap()
}

#[test]
fn figures_are_short() {
    let table = [
        (0, "0", "0 B"),
        (1023, "1023", "1023 B"),
        (1024, "1024", "1.0 KiB"),
        (99_999, "99999", "97 KiB"),
        (100_000, "100k", "97 KiB"),
        (1_048_575, "1.0M", "1023 KiB"),
        (9_999_999, "9.9M", "9.5 MiB"),
        (3_650_722_201, "3.6G", "3.3 GiB"),
        (u64::MAX, "18E", "15 EiB"),
    ];
    for (number, as_count, as_bytes) in table {
        assert_eq!(count(number), as_count);
        assert_eq!(bytes(number), as_bytes);
    }
}

#[test]
fn ages_have_one_unit() {
    let table = [
        (0, "of now"),
        (999, "of now"),
        (1000, "1 s old"),
        (119_999, "119 s old"),
        (120_000, "2 min old"),
        (7_200_000, "2 h old"),
        (172_800_000, "2 days old"),
        (63_072_000_000, "2 years old"),
    ];
    for (ms, text) in table {
        assert_eq!(old(ms), text);
    }
    let future = Counted {
        taken_unix_ms: u64::MAX,
        forwards: Vec::new(),
    };
    assert_eq!(age(&future), "of now", "the clock was set back");
}

#[test]
fn the_table_is_aligned_and_keeps_its_width() {
    let long = "n".repeat(64);
    let entries = [
        entry("wireguard", 120, 1_300_000),
        entry(&long, u64::MAX, 1_048_575),
        entry("x", 1, 12),
    ];
    let entries: Vec<&CountedForward> = entries.iter().collect();
    for width in [69, 80] {
        let lines = table(&entries, width);
        assert_eq!(
            lines,
            [
                "NAME       ACTIVE  OPENED  FAILED  REFUSED        IN  OUT",
                "wireguard    4.2G     120       0        7   1.2 MiB  0 B",
                &long,
                "             4.2G     18E       0        7  1023 KiB  0 B",
                "x            4.2G       1       0        7      12 B  0 B",
            ]
        );
    }
    let narrow = table(&entries, 52);
    assert!(narrow.iter().all(|line| line.len() <= 52 || *line == long));
    assert_eq!(narrow.get(1).unwrap(), "wireguard");
    assert_eq!(table(&[], 80), [""; 0]);
}
