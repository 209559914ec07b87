use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};

use super::*;
use crate::switch::engine::Stream;
use crate::switch::engine::dns::Message;

const DEADLINE: Duration = Duration::from_secs(20);
const MX: u16 = 15;

/// Names and nameservers of a test. A name without an entry keeps its thread until the
/// test ends the `Sender` of the gate.
#[derive(Default)]
struct Table {
    names: HashMap<(&'static str, bool), Result<Vec<IpAddr>, Failure>>,
    nameservers: Vec<SocketAddr>,
    gate: Option<Mutex<Receiver<()>>>,
}

impl Source for Table {
    fn lookup(&self, name: &str, is_ipv6: bool) -> Result<Vec<IpAddr>, Failure> {
        if let Some(gate) = &self.gate {
            gate.lock().unwrap().recv().unwrap_err();
        }
        let found = self
            .names
            .iter()
            .find(|((known, v6), _)| *known == name && *v6 == is_ipv6);
        found.map_or(Err(Failure::NoName), |(_, result)| result.clone())
    }

    fn nameservers(&self) -> Vec<SocketAddr> {
        self.nameservers.clone()
    }
}

fn message(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, u8::try_from(kind).unwrap(), 0, 1]);
    bytes
}

fn query(name: &str, kind: u16, in_datagram: bool) -> Query {
    match Query::parse(&message(name, kind), in_datagram) {
        Message::Query(query) => query,
        other => panic!("{other:?}"),
    }
}

/// A resolver, and what it wakes.
fn resolver(table: Table) -> (Resolver, Receiver<()>) {
    let (sender, woken) = mpsc::channel();
    let resolver = Resolver::new(table, move || sender.send(()).unwrap_or_default());
    (resolver, woken)
}

/// The answer to a query.
fn answer(resolver: &Resolver, woken: &Receiver<()>, query: Query) -> Vec<u8> {
    assert!(resolver.ask(7, query));
    woken.recv_timeout(DEADLINE).unwrap();
    match resolver.events().remove(0) {
        Event::Answer(7, answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn wait_for_no_threads(resolver: &Resolver) {
    let until = Instant::now() + DEADLINE;
    while resolver.state().threads > 0 {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn addresses_come_from_the_system() {
    let v4: IpAddr = "192.0.2.1".parse().unwrap();
    let (resolver, woken) = resolver(Table {
        names: HashMap::from([
            (("both.example", false), Ok(vec![v4])),
            (("both.example", true), Err(Failure::NoAddress)),
            (("four.example", false), Ok(vec![v4])),
            (("broken.example", false), Err(Failure::Unknown)),
        ]),
        ..Table::default()
    });
    let code = |name, kind| {
        let answer = answer(&resolver, &woken, query(name, kind, true));
        (answer[3] & 15, answer[7])
    };
    assert_eq!(code("both.example", A), (NO_ERROR, 1));
    assert_eq!(code("both.example", AAAA), (NO_ERROR, 0));
    // It has addresses of the other family.
    assert_eq!(code("four.example", AAAA), (NO_ERROR, 0));
    assert_eq!(code("none.example", A), (NO_SUCH_NAME, 0));
    assert_eq!(code("broken.example", A), (SERVER_FAILURE, 0));
    // There is no nameserver.
    assert_eq!(code("both.example", MX), (SERVER_FAILURE, 0));
    wait_for_no_threads(&resolver);
}

#[test]
fn this_machine_knows_itself() {
    let (sender, woken) = mpsc::channel();
    let resolver = Resolver::new(System, move || sender.send(()).unwrap_or_default());
    let answer = answer(&resolver, &woken, query("localhost", A, true));
    assert!(answer.ends_with(&[127, 0, 0, 1]), "{answer:?}");
    System.nameservers();
}

#[test]
fn threads_and_queries_have_limits() {
    let (gate, receiver) = mpsc::channel();
    let (resolver, woken) = resolver(Table {
        gate: Some(receiver.into()),
        ..Table::default()
    });
    let taken = (0..1000)
        .filter(|number| resolver.ask(*number, query("a.b", A, true)))
        .count();
    assert!((WAITING..=WAITING + THREADS).contains(&taken), "{taken}");
    assert_eq!(resolver.state().threads, THREADS);
    drop(gate);
    for _ in 0..taken {
        woken.recv_timeout(DEADLINE).unwrap();
    }
    assert_eq!(resolver.events().len(), taken);
    wait_for_no_threads(&resolver);
}

/// A nameserver for some queries: each is answered by what the function makes of it.
fn nameserver(answers: usize, make: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 600];
        for _ in 0..answers {
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            for answer in make(&buffer[..length]) {
                socket.send_to(&answer, from).unwrap();
            }
        }
    });
    address
}

/// What a nameserver answers: with the bit of truncated messages, or without.
fn answered(query: &[u8], flags: u8) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2] |= 0x80 | flags;
    answer.extend(b"answer");
    answer
}

#[test]
fn other_records_come_from_a_nameserver() {
    // The first refuses, as nobody has its port. The second answers to others first.
    let gone = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = nameserver(1, |query| {
        let mut other = answered(query, 0);
        other[0] ^= 1;
        vec![other, query.to_vec(), answered(query, 0)]
    });
    let (resolver, woken) = resolver(Table {
        nameservers: vec![gone, server],
        ..Table::default()
    });
    let got = answer(&resolver, &woken, query("example.com", MX, true));
    assert_eq!(got, answered(&message("example.com", MX), 0));
}

#[test]
fn long_answers_come_in_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 600];
        for _ in 0..2 {
            let (length, from) = udp.recv_from(&mut buffer).unwrap();
            udp.send_to(&answered(&buffer[..length], 2), from).unwrap();
        }
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut buffer[..2]).unwrap();
        let length = usize::from(buffer[1]);
        stream.read_exact(&mut buffer[..length]).unwrap();
        let long = [answered(&buffer[..length], 0), vec![0; 40_000]].concat();
        stream.write_all(&conversation::framed(&long)).unwrap();
    });
    let (resolver, woken) = resolver(Table {
        nameservers: vec![address],
        ..Table::default()
    });
    // The guest asks again over TCP.
    let got = answer(&resolver, &woken, query("example.com", MX, true));
    assert_eq!(got, answered(&message("example.com", MX), 2));
    let got = answer(&resolver, &woken, query("example.com", MX, false));
    assert_eq!(got.len(), message("example.com", MX).len() + 6 + 40_000);
}

/// Reads all that there is, and whether it ended.
fn read(conversation: &mut Conversation) -> (Vec<u8>, io::Result<bool>) {
    let mut all = Vec::new();
    loop {
        let (mut first, mut second) = ([0; 3], [0; 11]);
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        match conversation.read(&mut buffers) {
            Ok(0) => return (all, Ok(true)),
            Ok(count) => all.extend([&first[..], &second].concat().iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (all, Ok(false)),
            Err(error) => return (all, Err(error)),
        }
    }
}

fn write(conversation: &mut Conversation, data: &[u8]) -> io::Result<usize> {
    conversation.write(&[IoSlice::new(&data[..1]), IoSlice::new(&data[1..])])
}

#[test]
fn a_conversation_answers_all() {
    let v4: IpAddr = "192.0.2.1".parse().unwrap();
    let names = HashMap::from([(("a.example", false), Ok(vec![v4]))]);
    let (resolver, woken) = resolver(Table {
        names,
        ..Table::default()
    });
    let mut conversation = resolver.converse(30);
    woken.recv_timeout(DEADLINE).unwrap();
    assert_eq!(resolver.events(), [Event::Ready(30)]);
    assert!(conversation.is_connected().unwrap());
    assert!(matches!(read(&mut conversation), (all, Ok(false)) if all.is_empty()));
    // In pieces, more than at once, one that is known here, and one that is malformed.
    let mut bytes = Vec::new();
    for _ in 0..40 {
        bytes.extend(conversation::framed(&message("a.example", A)));
    }
    bytes.extend(conversation::framed(&message("host.docker.internal", A)));
    bytes.extend(conversation::framed(&message("a.example", A)[..14]));
    for piece in bytes.chunks(17) {
        assert_eq!(write(&mut conversation, piece).unwrap(), piece.len());
    }
    conversation.finish();
    let size = 40 * (2 + 27 + 16) + (2 + 38 + 16) + (2 + 12);
    let mut all = Vec::new();
    loop {
        let (more, ended) = read(&mut conversation);
        all.extend(more);
        if ended.unwrap() {
            break;
        }
        woken.recv_timeout(DEADLINE).unwrap();
    }
    assert_eq!(all.len(), size);
    wait_for_no_threads(&resolver);
}

#[test]
fn a_conversation_has_limits() {
    let (gate, receiver) = mpsc::channel();
    let (resolver, _woken) = resolver(Table {
        gate: Some(receiver.into()),
        ..Table::default()
    });
    let mut conversation = resolver.converse(1);
    let framed = conversation::framed(&message("a.example", A));
    let mut taken = 0;
    while let Ok(count) = write(&mut conversation, &framed) {
        taken += count;
        assert!(taken < 100_000);
    }
    // As many as are asked, and the longest message.
    assert_eq!(taken, 16 * framed.len() + 65_537);
    drop(gate);
    let mut other = resolver.converse(2);
    write(&mut other, &[0, 3, 1, 2, 3]).unwrap();
    assert_eq!(
        read(&mut other).1.unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
    other.abort();
}
