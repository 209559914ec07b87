use super::{
    hello::{Peer, parse_hello, parse_names},
    proof::parse_request,
    strangers::describe,
    *,
};

#[test]
fn each_leader_has_its_text() {
    let text = |pid, is_old| Holder { pid, is_old }.finding().to_string();
    let table = [
        (Some(7), false, "standby: process 7 leads"),
        (
            None,
            false,
            "standby: an agent in another distribution leads",
        ),
        (
            Some(7),
            true,
            "leader-outdated: process 7 leads, an agent of version 0.1.0",
        ),
    ];
    for (pid, is_old, expected) in table {
        let text = text(pid, is_old);
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn each_stranger_has_its_text() {
    let table = [
        (
            1000,
            Some(7),
            "process 7 of user 1000 holds a leader-election socket!",
        ),
        (
            0,
            None,
            "a process of root in another distribution or a container holds a leader-election socket!",
        ),
    ];
    for (uid, pid, text) in table {
        assert_eq!(describe(Peer { uid, pid }, "!"), text);
    }
}

#[test]
fn unknown_capabilities_are_none() {
    // Another distribution's process or a container's, and one that has ended.
    for pid in [None, Some(i32::MAX)] {
        assert!(!Peer { uid: 0, pid }.may_administer(), "{pid:?}");
    }
}

#[test]
fn names_that_listen_are_found() {
    let number = 0x0a_u128 << 120;
    let name = format!("wslmesh/agent/{number:032x}");
    let lines = [
        "Num       RefCount Protocol Flags    Type St Inode Path".to_owned(),
        line("00010000", "0001", "@wslmesh/agent"),
        line("00010000", "0001", &format!("@{name}")),
        line(
            "00000000",
            "0001",
            "@wslmesh/agent/00000000000000000000000000000001",
        ),
        line(
            "00010000",
            "0005",
            "@wslmesh/agent/00000000000000000000000000000002",
        ),
        line(
            "00010000",
            "0001",
            "/wslmesh/agent/00000000000000000000000000000003",
        ),
        line(
            "00010000",
            "0001",
            "@x/wslmesh/agent/00000000000000000000000000000004",
        ),
        line(
            "00010000",
            "0001",
            "@wslmesh/agent/+0000000000000000000000000000005",
        ),
        line(
            "00010000",
            "0001",
            "@wslmesh/agent/0000000000000000000000000000000A",
        ),
        line("00010000", "0001", "@wslmesh/agent/6"),
        line("00010000", "0001", ""),
    ];
    let mut sockets = lines.join("\n").into_bytes();
    sockets.extend(b"\n\xff\n");
    assert_eq!(parse_names(sockets.as_slice()).unwrap(), [number]);
}

fn line(flags: &str, kind: &str, name: &str) -> String {
    format!("0000000000000000: 00000002 00000000 {flags} {kind} 01 101 {name}")
}

#[test]
fn requests_are_read_strictly() {
    assert_eq!(parse_request("17 00ff\n"), Some((17, 255)));
    for wrong in [
        "", "\n", "17\n", "17 00ff", "0 00ff\n", "-1 0\n", "17 x\n", "17 0 0\n",
    ] {
        assert_eq!(parse_request(wrong), None, "{wrong:?}");
    }
}

/// Whatever an agent adds, its version alone keeps two from leading.
#[test]
fn a_hello_of_any_version_counts() {
    let table = [
        ("wslmesh 1 17 00ff\n", Some((1, Some((17, 255))))),
        ("wslmesh 1\n", Some((1, None))),
        ("wslmesh 2 17 00ff\n", Some((2, None))),
        ("wslmesh 2 and more\n", Some((2, None))),
        ("wslmesh 0\n", None),
        ("wslmesh x\n", None),
        ("wslmesh\n", None),
        ("hello 1\n", None),
    ];
    for (line, expected) in table {
        assert_eq!(parse_hello(line), expected, "{line:?}");
    }
}
