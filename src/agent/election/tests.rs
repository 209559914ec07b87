use super::{
    hello::{Peer, parse_names, parse_request},
    strangers::describe,
    *,
};

#[test]
fn each_leader_has_its_text() {
    let text = |pid| Holder { pid }.to_string();
    assert_eq!(text(Some(7)), "process 7 leads");
    assert_eq!(text(None), "an agent in another distribution leads");
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
fn names_that_listen_are_found() {
    let sockets = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 101 @wslmesh/agent
0000000000000000: 00000002 00000000 00010000 0001 01 102 @wslmesh/agent/0a
0000000000000000: 00000003 00000000 00000000 0001 03 103 @wslmesh/agent/connected
0000000000000000: 00000002 00000000 00010000 0005 01 104 @wslmesh/agent/seqpacket
0000000000000000: 00000002 00000000 00010000 0001 01 105 /run/wslmesh/agent/path
0000000000000000: 00000002 00000000 00010000 0001 01 106 @other/wslmesh/agent
0000000000000000: 00000002 00000000 00010000 0001 01 107 @wslmesh/agent/\u{1b}[2J
0000000000000000: 00000002 00000000 00010000 0001 01 108
";
    let names: Vec<String> = parse_names(sockets).into_iter().collect();
    assert_eq!(names, ["wslmesh/agent", "wslmesh/agent/0a"]);
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
