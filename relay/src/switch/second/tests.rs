use std::time::Instant;

use mio::Poll;

use super::*;
use crate::link::{
    self, Frame, FromSwitch, GATEWAY_V4, GUEST_V4, HEADER, LinkError, ToSwitch, VERSION,
};
use crate::switch::engine::{Config, Engine};
use crate::switch::resolver::{Resolver, System};
use crate::switch::session::{End, Session, Step, Way};
use crate::switch::sockets::Sockets;

const TOKEN: Token = Token::new([9; Token::SIZE]);

fn sum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// A frame with a ping of the gateway, which answers it.
fn ping(number: u16) -> Vec<u8> {
    let mut icmp = vec![8, 0, 0, 0, 1, 1];
    icmp.extend(number.to_be_bytes());
    let checksum = sum(&[&icmp]);
    icmp[2..4].copy_from_slice(&checksum);
    let mut ip = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0];
    ip.extend(GUEST_V4.octets());
    ip.extend(GATEWAY_V4.octets());
    let checksum = sum(&[&ip]);
    ip[10..12].copy_from_slice(&checksum);
    let mut frame = Vec::new();
    link::put_packet(&mut frame, &[&[0; HEADER][..], &ip, &icmp].concat());
    frame
}

fn message(message: &ToSwitch) -> Vec<u8> {
    let mut frame = Vec::new();
    link::put_message(&mut frame, message);
    frame
}

/// What a session writes.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    Answer(u16),
    Message(FromSwitch),
}

struct Guest {
    session: Session<Sockets>,
    _poll: Poll,
}

impl Guest {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let resolver = Resolver::new(System, || {});
        let sockets = Sockets::new(poll.registry().try_clone().unwrap(), resolver);
        let config = Config {
            mtu: link::MTU,
            nameservers: Vec::new(),
        };
        let engine = Engine::new(config, sockets, Instant::now());
        let mut guest = Self {
            session: Session::new(engine, false),
            _poll: poll,
        };
        let hello = ToSwitch::Hello {
            version: VERSION,
            program: String::new(),
            nameservers: Vec::new(),
        };
        guest.say(&hello).unwrap();
        assert_eq!(guest.written(Way::Standard).len(), 1);
        guest
    }

    fn say(&mut self, said: &ToSwitch) -> Result<(), End> {
        self.give(&message(said), Way::Standard)
    }

    fn give(&mut self, frames: &[u8], way: Way) -> Result<(), End> {
        self.session.chunk(frames, way, Instant::now())
    }

    fn written(&mut self, way: Way) -> Vec<Written> {
        let mut all = Vec::new();
        loop {
            let outgoing = self.session.outgoing(way);
            let frames = outgoing.rest().to_vec();
            if frames.is_empty() {
                return all;
            }
            outgoing.advance(frames.len());
            all.extend(link::split(&frames).map(|frame| match frame {
                Frame::Packet(packet) => {
                    let number = packet.last_chunk().unwrap();
                    Written::Answer(u16::from_be_bytes(*number))
                }
                Frame::Control(body) => Written::Message(link::message(body).unwrap()),
            }));
        }
    }
}

fn to_nowhere() -> ToSwitch {
    ToSwitch::Move {
        to: Place::Unix {
            path: String::new(),
        },
        token: TOKEN,
    }
}

#[test]
fn packets_move_behind_all_that_wait_and_messages_stay() {
    let mut guest = Guest::new();
    guest.say(&to_nowhere()).unwrap();
    assert!(matches!(guest.session.step(), Some(Step::Connect(_, token)) if token == TOKEN));
    guest.session.connected(Ok(()));
    // Some are being written, and others wait.
    guest
        .give(&[ping(1), ping(2)].concat(), Way::Standard)
        .unwrap();
    guest.session.outgoing(Way::Standard).advance(3);
    guest.give(&ping(3), Way::Standard).unwrap();
    assert_eq!(guest.written(Way::Second), []);
    let last = [
        ping(4),
        message(&ToSwitch::Moved),
        message(&ToSwitch::Ping { id: 5 }),
    ];
    guest.give(&last.concat(), Way::Standard).unwrap();
    assert_eq!(guest.session.step(), Some(Step::Take));
    guest
        .give(&[ping(5), ping(6)].concat(), Way::Second)
        .unwrap();
    let answers = |numbers: &[u16]| numbers.iter().map(|one| Written::Answer(*one)).collect();
    let second: Vec<Written> = answers(&[5, 6]);
    assert_eq!(guest.written(Way::Second), second);

    // The first frame is written but for its first bytes.
    let outgoing = guest.session.outgoing(Way::Standard);
    let rest = outgoing.rest().to_vec();
    outgoing.advance(rest.len());
    let mut whole = ping(1)[..3].to_vec();
    whole.extend(rest);
    let kinds: Vec<bool> = link::split(&whole)
        .map(|one| matches!(one, Frame::Packet(_)))
        .collect();
    // The pong goes before the packets that wait, and the end of packets behind them.
    assert_eq!(kinds, [true, false, true, true, true, false]);
    let Some(Frame::Control(end)) = link::split(&whole).last() else {
        panic!("{kinds:?}");
    };
    assert_eq!(link::message::<FromSwitch>(end), Ok(FromSwitch::Moved));

    guest.say(&ToSwitch::Ping { id: 7 }).unwrap();
    let pong = Written::Message(FromSwitch::Pong { id: 7 });
    assert_eq!(guest.written(Way::Standard), [pong]);
    assert_eq!(guest.written(Way::Second), []);
}

#[test]
fn what_is_out_of_place_ends_the_link() {
    type Prepare = fn(&mut Guest);
    let begun: Prepare = |guest| guest.say(&to_nowhere()).unwrap();
    let moved: Prepare = |guest| {
        guest.say(&to_nowhere()).unwrap();
        guest.session.connected(Ok(()));
        guest.say(&ToSwitch::Moved).unwrap();
    };
    let failed: Prepare = |guest| {
        guest.say(&to_nowhere()).unwrap();
        guest.session.connected(Err("so".to_owned()));
    };
    let given_up: Prepare = |guest| {
        guest.say(&to_nowhere()).unwrap();
        guest.session.connected(Ok(()));
        guest.say(&ToSwitch::Stay).unwrap();
        assert_eq!(guest.session.step(), Some(Step::Close));
    };
    let twice = message(&to_nowhere());
    let end = message(&ToSwitch::Moved);
    let back = message(&ToSwitch::Stay);
    let cases: [(&str, Prepare, Vec<u8>, Way); 10] = [
        (
            "no connection was asked for",
            |_| {},
            end.clone(),
            Way::Standard,
        ),
        ("it is not there yet", begun, end.clone(), Way::Standard),
        ("it failed", failed, end.clone(), Way::Standard),
        ("it was given up", given_up, end.clone(), Way::Standard),
        ("a second end", moved, end, Way::Standard),
        ("two at once", begun, twice.clone(), Way::Standard),
        ("a further one", moved, twice, Way::Standard),
        ("the way back", moved, back, Way::Standard),
        ("a packet behind the end", moved, ping(1), Way::Standard),
        (
            "a message among packets",
            moved,
            message(&ToSwitch::GetCounters),
            Way::Second,
        ),
    ];
    for (what, prepare, frames, way) in cases {
        let mut guest = Guest::new();
        prepare(&mut guest);
        let result = guest.give(&frames, way);
        let Err(End::Invalid(LinkError::Misplaced(_))) = result else {
            panic!("{what}: {result:?}");
        };
    }
    // The two messages may cross.
    let mut guest = Guest::new();
    failed(&mut guest);
    guest.say(&ToSwitch::Stay).unwrap();
    let why = "so".to_owned();
    assert_eq!(
        guest.written(Way::Standard),
        [Written::Message(FromSwitch::Stays { why })]
    );
    // And another attempt may follow.
    guest.say(&to_nowhere()).unwrap();
    assert!(matches!(guest.session.step(), Some(Step::Connect(..))));
}

#[cfg(unix)]
mod by_unix_socket {
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::{env, fs, process};

    use mio::Events;

    use super::*;
    use crate::link::Frames;

    fn wait(poll: &mut Poll, second: &mut Second) -> Result<(), String> {
        let mut events = Events::with_capacity(8);
        let begin = Instant::now();
        loop {
            poll.poll(&mut events, Some(LIMIT)).unwrap();
            if let Some(result) = second.result() {
                return result;
            }
            assert!(begin.elapsed() < 10 * LIMIT, "no result");
        }
    }

    #[test]
    fn the_secret_is_shown_and_frames_follow() {
        let path = env::temp_dir().join(format!("wslmesh-second-{}", process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let to = Place::Unix {
            path: path.to_str().unwrap().to_owned(),
        };
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(1)).unwrap());
        let mut second = Second::default();
        second.connect(to.clone(), TOKEN, &waker).unwrap();
        wait(&mut poll, &mut second).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut shown = [0; Token::SIZE];
        peer.read_exact(&mut shown).unwrap();
        assert!(TOKEN.is(&shown));

        second.take(poll.registry(), &waker, false).unwrap();
        let link = second.link.as_mut().unwrap();
        peer.write_all(&ping(1)).unwrap();
        let mut guest = Guest::new();
        guest.say(&to_nowhere()).unwrap();
        guest.session.connected(Ok(()));
        guest.say(&ToSwitch::Moved).unwrap();
        assert_eq!(link.read(|chunk| guest.give(chunk, Way::Second)), None);
        assert!(link.write(&mut guest.session, Way::Second).unwrap());
        let mut frames = Frames::default();
        let read = peer.read(frames.space()).unwrap();
        frames.filled(read);
        assert!(matches!(frames.next_frame(), Ok(Some(Frame::Packet(_)))));
        // Its end is the link's.
        drop(peer);
        link.readable();
        assert_eq!(link.read(|_| Ok(())), Some(End::Closed));

        // What is given up is closed.
        let mut second = Second::default();
        second.connect(to.clone(), TOKEN, &waker).unwrap();
        wait(&mut poll, &mut second).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        second.close();
        let mut all = Vec::new();
        assert_eq!(peer.read_to_end(&mut all).unwrap(), Token::SIZE);
        assert!(second.take(poll.registry(), &waker, false).is_err());

        fs::remove_file(&path).unwrap();
        let mut second = Second::default();
        second.connect(to, TOKEN, &waker).unwrap();
        let why = wait(&mut poll, &mut second).unwrap_err();
        assert!(why.contains("No such file"), "{why}");
    }
}
