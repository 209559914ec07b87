use super::*;

#[test]
fn each_holder_has_its_text() {
    let table = [
        (Holder::Agent { pid: Some(7) }, "process 7 leads"),
        (
            Holder::Agent { pid: None },
            "an agent in another distribution leads",
        ),
        (
            Holder::OtherUser {
                uid: 1000,
                pid: Some(7),
            },
            "process 7 of user 1000 holds the leader-election socket",
        ),
        (
            Holder::Unresponsive,
            "a process that does not answer holds the leader-election socket",
        ),
    ];
    for (holder, text) in table {
        assert_eq!(holder.to_string(), text);
    }
}
