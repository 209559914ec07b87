use tokio::io::{AsyncBufReadExt, BufReader};

use super::*;
use crate::{
    config::settings,
    model::{Code, ForwardBackend},
};

fn forwards(name: &str, count: usize) -> Registration {
    let forward = |number| {
        format!(
            "[[forward]]\nname = \"f{number}\"\nprotocol = \"tcp\"\nlisten-port = {}\n",
            1000 + number
        )
    };
    let text: String = (0..count).map(forward).collect();
    Registration::new(name, &settings(&text), &[])
}

fn names(members: &Members) -> Vec<String> {
    let (members, _) = members.current(Instant::now());
    let name = |member: Member| format!("{} {}", member.distribution, member.forwards.len());
    members.into_iter().map(name).collect()
}

fn place(members: &Members) -> Place<'_> {
    Place { members, id: None }
}

#[test]
fn a_registration_replaces_the_one_before_in_its_place() {
    let members = Members::default();
    let (mut first, mut second) = (place(&members), place(&members));
    assert_eq!(first.take(Ok(forwards("Debian", 1))).refused, None);
    second.take(Ok(forwards("Fedora", 2)));
    let answer = first.take(Ok(forwards("Debian", 3)));
    assert_eq!(names(&members), ["Debian 3", "Fedora 2"]);
    assert!(
        answer
            .forwards
            .iter()
            .all(|one| one.status.state == ForwardState::Pending)
    );
    assert_eq!(answer.forwards[2].status.name, "f2");
}

#[test]
fn two_of_one_name_are_told_apart() {
    let members = Members::default();
    members.publish("Ubuntu", &[], &[], &Inheritance::default());
    let mut places: Vec<Place<'_>> = (0..3).map(|_| place(&members)).collect();
    for (place, name) in places.iter_mut().zip(["Debian", "Debian", "Ubuntu"]) {
        place.take(Ok(forwards(name, 1)));
    }
    assert_eq!(names(&members), ["Debian 1", "Debian-2 1", "Ubuntu-2 1"]);
}

#[test]
fn forwards_outlive_their_agent_for_a_moment() {
    let members = Members::default();
    let (mut first, mut second) = (place(&members), place(&members));
    first.take(Ok(forwards("Debian", 1)));
    second.take(Ok(forwards("Fedora", 1)));
    drop(first);
    let (left, due) = members.current(Instant::now());
    assert_eq!(left.len(), 2);
    // A restarted agent has its place again.
    let mut again = place(&members);
    again.take(Ok(forwards("Debian", 2)));
    assert_eq!(names(&members), ["Debian 2", "Fedora 1"]);
    assert_eq!(members.current(due.unwrap()).1, None);
    drop(again);
    let later = Instant::now() + GRACE;
    assert_eq!(members.current(later).0[0].distribution, "Fedora");
}

#[test]
fn what_a_leader_leaves_stays_until_its_members_have_registered() {
    let (settings, folder) = (settings(""), tempfile::tempdir().unwrap());
    let first = Members::default();
    let mut places = [place(&first), place(&first), place(&first)];
    for (place, name) in places.iter_mut().zip(["Debian", "Fedora", "Arch"]) {
        place.take(Ok(forwards(name, 2)));
    }
    let own = || Registration::new("Ubuntu", &settings, &[]).member();
    let left = Inheritance::of(own, &first.current(Instant::now()).0, true);
    assert!(first.publish("Ubuntu", &[], &[], &left));
    assert!(!first.publish("Ubuntu", &[], &[], &left));

    // Its own next process finds the others in a file.
    left.save(folder.path());
    let again = Members::default();
    again.inherit(Inheritance::load(folder.path()));
    assert_eq!(names(&again), ["Debian 2", "Fedora 2", "Arch 2"]);
    Inheritance::forget(folder.path());
    assert_eq!(Inheritance::load(folder.path()), Inheritance::default());

    // Another one is left all but itself, in the same order, whoever registers first.
    let left = Answer::parse(&places[1].answer().line()).unwrap().left;
    assert!(left.rules_remain);
    let next = Members::default();
    let mut arch = place(&next);
    arch.take(Ok(forwards("Arch", 1)));
    next.inherit(left);
    assert_eq!(names(&next), ["Ubuntu 0", "Debian 2", "Arch 1"]);
    let mut debian = place(&next);
    debian.take(Ok(forwards("Debian", 3)));
    assert_eq!(names(&next), ["Ubuntu 0", "Debian 3", "Arch 1"]);
    let later = next.current(Instant::now() + TAKEOVER).0;
    let later: Vec<String> = later.into_iter().map(|one| one.distribution).collect();
    assert_eq!(later, ["Debian", "Arch"]);
}

#[test]
fn who_has_no_connection_makes_room() {
    let members = Members::default();
    let mut places: Vec<Place<'_>> = (0..4).map(|_| place(&members)).collect();
    for (number, place) in places.iter_mut().enumerate() {
        place.take(Ok(forwards(&format!("D{number}"), 250)));
    }
    drop(places.remove(1));
    assert_eq!(names(&members).len(), 4);
    let answer = place(&members).take(Ok(forwards("D4", 1)));
    assert_eq!(answer.refused, None);
    // That one has ended meanwhile, too.
    assert_eq!(names(&members), ["D0 250", "D2 250", "D3 250", "D4 1"]);
}

#[test]
fn all_together_are_bounded() {
    let members = Members::default();
    let mut places: Vec<Place<'_>> = (0..5).map(|_| place(&members)).collect();
    for (number, place) in places.iter_mut().enumerate() {
        let answer = place.take(Ok(forwards(&format!("D{number}"), 250)));
        assert_eq!(answer.refused.is_some(), number == 4, "{number}");
    }
    // A smaller one has room, and one that is refused has no forwards any more.
    assert_eq!(places[0].take(Ok(forwards("D0", 1))).refused, None);
    assert!(places[1].take(Err(Refusal::TooLong)).refused.is_some());
    assert_eq!(names(&members), ["D0 1", "D2 250", "D3 250"]);
}

#[test]
fn each_hears_of_its_own_forwards() {
    let members = Members::default();
    let mut debian = place(&members);
    debian.take(Ok(forwards("Debian", 1)));
    let mut status = debian.answer().forwards[0].status.clone();
    (status.name, status.distribution) = ("Debian/f0".to_owned(), Some("Debian".to_owned()));
    (status.state, status.backend) = (ForwardState::Up, Some(ForwardBackend::Relay));
    let finding = Finding::new(Code::ForwardTaken, "Debian/f0", "in use");
    let other = Finding::new(Code::ForwardTaken, "f0", "in use too");
    members.publish(
        "Ubuntu",
        &[status],
        &[finding, other],
        &Inheritance::default(),
    );
    let answer = debian.answer();
    assert_eq!(answer.leader, "Ubuntu");
    let [one] = answer.forwards.as_slice() else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (one.status.name.as_str(), one.status.state),
        ("f0", ForwardState::Up)
    );
    assert_eq!(one.detail.as_deref(), Some("forward-taken: in use"));
}

/// The answer of a leader, on a connection.
async fn answer(client: &mut BufReader<UnixStream>) -> Answer {
    let mut line = Vec::new();
    client.read_until(b'\n', &mut line).await.unwrap();
    Answer::parse(&line).unwrap()
}

#[tokio::test]
async fn each_registration_is_answered() {
    let members = Members::default();
    let (client, server) = UnixStream::pair().unwrap();
    let serving = tokio::spawn({
        let members = members.clone();
        async move { members.serve(server, || true).await }
    });
    let mut client = BufReader::new(client);
    let line = forwards("Debian", 2).line();
    for _ in 0..2 {
        // The same again asks whether the leader is there.
        client.get_mut().write_all(&line).await.unwrap();
        assert_eq!(answer(&mut client).await.forwards.len(), 2);
    }
    members.changed().await;
    let long = [vec![b'x'; wire::LONGEST + 1], b"\n".to_vec()].concat();
    client.get_mut().write_all(&long).await.unwrap();
    let refused = answer(&mut client).await;
    assert!(refused.refused.unwrap().contains("bytes"));
    assert_eq!(names(&members), Vec::<String>::new());
    // Half a line is none.
    client.get_mut().write_all(&line[..9]).await.unwrap();
    drop(client);
    serving.await.unwrap();
}

#[tokio::test]
async fn who_may_not_register_is_refused() {
    let members = Members::default();
    let (client, server) = UnixStream::pair().unwrap();
    let serving = members.serve(server, || false);
    let mut client = BufReader::new(client);
    let asking = async {
        let line = forwards("Debian", 1).line();
        client.get_mut().write_all(&line).await.unwrap();
        let refused = answer(&mut client).await.refused.unwrap();
        assert!(refused.contains("CAP_NET_ADMIN"), "{refused}");
    };
    select! { () = serving => panic!("it closed"), () = asking => {} }
    assert_eq!(names(&members), Vec::<String>::new());
}
