use super::*;

#[test]
fn ports_as_a_person_writes_them() {
    let table = [
        ("tcp:2222:22", Ok("--ports tcp:2222:22")),
        ("tcp:8000-8010", Ok("--ports tcp:8000-8010")),
        ("udp:51820", Ok("--ports udp:51820")),
        ("udp:1-3:5-9", Ok("--ports udp:1-3:5-9")),
        ("tcp:10-10:10", Ok("--ports tcp:10")),
        ("icmp:1", Err("is no protocol")),
        ("tcp", Err("write it as")),
        ("tcp:", Err("\"\" is no port")),
        ("tcp:1:2:3", Err("write it as")),
        ("tcp:5-1", Err("the lower number comes first")),
        ("tcp:0-1", Err("\"0\" is no port")),
        ("tcp:65536", Err("is no port")),
        ("tcp:+5", Err("is no port")),
        ("tcp:1-2-3", Err("is no port")),
    ];
    for (text, expected) in table {
        match (text.parse::<Grant>(), expected) {
            (Ok(grant), Ok(option)) => {
                assert_eq!(grant.option().as_deref(), Some(option))
            }
            (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}
