use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::config::settings;

const SSH: &str =
    "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n";

fn registered(text: &str) -> Registration {
    Registration::new("Debian", &settings(text), &[])
}

fn parse(line: &str) -> Result<Registration, Refusal> {
    Registration::parse(line.as_bytes())
}

#[test]
fn what_is_registered_is_read_again() {
    let registration = registered(SSH);
    assert_eq!(registration.forwards[0].backend, Some(Backend::Auto));
    let line = registration.line();
    assert_eq!(line.last(), Some(&b'\n'));
    assert_eq!(Registration::parse(&line), Ok(registration));
}

/// What listens never costs what is configured its place.
#[test]
fn what_was_discovered_has_the_ports_that_are_left() {
    let range = SSH.replace("2222\nconnect-port = 22", "\"2000-2199\"");
    let settings = settings(&range);
    let one = registered(SSH).forwards.remove(0);
    let found: Vec<Forward> = (0..100)
        .map(|number| Forward {
            name: format!("auto-{number}"),
            ..one.clone()
        })
        .collect();
    let registration = Registration::new("Debian", &settings, &found);
    assert_eq!(
        (registration.discovered.len(), registration.ports()),
        (56, 256)
    );
    assert_eq!(Registration::parse(&registration.line()), Ok(registration));
}

/// A leader of the version before refuses what it cannot do by the version alone.
#[test]
fn only_a_registration_with_a_range_is_of_the_later_version() {
    assert_eq!(registered(SSH).version, VERSION);
    let range = SSH.replace("2222\nconnect-port = 22", "\"2000-2255\"");
    let registration = registered(&range);
    assert_eq!((registration.version, registration.ports()), (RICHER, 256));
    let header = registered(&format!("{SSH}proxy-protocol = \"v2\"\n"));
    assert_eq!((header.version, header.ports()), (RICHER, 1));
    let loopback = registered(&format!("{SSH}connect-address = \"127.0.0.1\"\n"));
    assert_eq!(loopback.version, RICHER);
    assert_eq!(Registration::parse(&loopback.line()), Ok(loopback));
    assert_eq!(Registration::parse(&registration.line()), Ok(registration));
}

#[test]
fn a_backend_of_none_registers_nothing() {
    let text = format!("[host]\nbackend = \"none\"\n{SSH}");
    assert_eq!(registered(&text).forwards, []);
}

#[test]
fn wrong_registrations_are_refused_with_the_reason() {
    let line = String::from_utf8(registered(SSH).line()).unwrap();
    let ssh = line.split_once('[').unwrap().1.rsplit_once(']').unwrap().0;
    let forwards = |forwards: String| line.replace(ssh, &forwards);
    let many = (0..257).map(|number| ssh.replace("\"ssh\"", &format!("\"f{number}\"")));
    let many = many.collect::<Vec<_>>().join(",");
    let table = [
        (line.replace(":1,", ":3,"), "registration of version 3"),
        (
            "{\"version\":7,\"new\":[]}".to_owned(),
            "registration of version 7",
        ),
        ("".to_owned(), "cannot be read"),
        ("{}".to_owned(), "cannot be read"),
        ("[1]".to_owned(), "cannot be read"),
        (line.replace("Debian", "../x"), "no name of a distribution"),
        (line.replace("Debian", ""), "no name of a distribution"),
        (line.replace("\"ssh\"", "\"a/b\""), "cannot be read"),
        (line.replace("2222", "0"), "cannot be read"),
        (line.replace("2222", "65536"), "cannot be read"),
        (line.replace("0.0.0.0", "224.0.0.1"), "cannot be read"),
        (line.replace("\"auto\"", "\"none\""), "cannot be read"),
        (
            line.replace("\"auto\"", "\"auto\",\"shell\":\"x\""),
            "unknown field",
        ),
        (forwards(format!("{ssh},{ssh}")), "is there twice"),
        (
            line.replace("2222", "\"2000-2255\""),
            "22 is 1 port, and listen-port 2000-2255 is 256 ports",
        ),
        (
            line.replace("2222", "\"1-300\""),
            "300 ports are registered, and a distribution may have 256: shorten a range",
        ),
        (line.replace("2222", "\"300-1\""), "cannot be read"),
        (forwards(many), "257 ports are registered"),
    ];
    for (line, reason) in table {
        let refused = parse(&line).expect_err(&line).to_string();
        assert!(refused.contains(reason), "{refused}: {line}");
        assert!(refused.len() < 400, "{refused}");
    }
}

/// One that leaves so many forwards to the next leader.
fn answer(forwards: usize) -> Answer {
    let mut member = registered(SSH).member();
    let forward = member.forwards[0].clone();
    member.forwards = vec![forward; forwards];
    Answer {
        version: VERSION,
        leader: "Ubuntu".to_owned(),
        forwards: Vec::new(),
        refused: None,
        left: Inheritance {
            members: vec![member],
            rules_remain: true,
        },
    }
}

#[test]
fn what_is_left_to_the_next_leader_fails_alone() {
    // The most that all may register fits.
    let most = answer(1000);
    assert_eq!(Answer::parse(&most.line()), Some(most));
    // A configuration may have more.
    let more = answer(3000);
    let line = more.line();
    assert!(line.len() < LONGEST, "{}", line.len());
    let read = Answer::parse(&line).unwrap();
    assert!(read.left.rules_remain && read.left.members.is_empty());
    // A later version may write what this one cannot read.
    let line = String::from_utf8(answer(1).line()).unwrap();
    let line = line.replace("\"connect-port\"", "\"later\":1,\"connect-port\"");
    let read = Answer::parse(line.as_bytes()).unwrap();
    assert_eq!(
        (read.leader.as_str(), read.left),
        ("Ubuntu", Inheritance::default())
    );
}

#[test]
fn an_answer_of_another_version_is_none() {
    let answer = answer(1);
    assert_eq!(Answer::parse(&answer.line()), Some(answer.clone()));
    let other = Answer {
        version: VERSION + 1,
        ..answer
    };
    assert_eq!(Answer::parse(&other.line()), None);
    assert_eq!(Answer::parse(b"x"), None);
}

async fn lines(bytes: &[u8]) -> Vec<Result<Vec<u8>, TooLong>> {
    let mut reader = Lines::new(bytes);
    let mut all = Vec::new();
    while let Some(line) = reader.next().await.unwrap() {
        all.push(line);
    }
    all
}

#[tokio::test]
async fn a_line_that_is_too_long_is_read_to_its_end() {
    let mut bytes = vec![b'x'; LONGEST];
    bytes.extend(b"\n");
    assert_eq!(lines(&bytes).await, [Ok(vec![b'x'; LONGEST])]);
    bytes.insert(0, b'x');
    bytes.extend(b"next\nhalf");
    assert_eq!(lines(&bytes).await, [Err(TooLong), Ok(b"next".to_vec())]);
}

static LINE: LazyLock<Vec<u8>> = LazyLock::new(|| registered(SSH).line());

proptest! {
    /// Any bytes are read or refused; what is read is within the bounds.
    #[test]
    fn any_line_is_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..512)) {
        drop(Registration::parse(&line));
        drop(Answer::parse(&line));
    }

    /// The same of lines that are nearly right.
    #[test]
    fn a_changed_line_is_read_or_refused(at in 0..200_usize, byte: u8) {
        let mut line = LINE.clone();
        let at = at % line.len();
        line[at] = byte;
        if let Ok(read) = Registration::parse(&line) {
            prop_assert!(is_name(&read.distribution));
            prop_assert!(read.forwards.iter().all(|forward| is_name(&forward.name)));
        }
    }
}
