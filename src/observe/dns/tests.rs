use tokio::net::TcpListener;

use super::*;

const SHORT: Duration = Duration::from_millis(300);

/// What a server does with a query: the messages that it sends.
type Respond = fn(&[u8]) -> Vec<Vec<u8>>;

/// An answer with this code.
fn code(query: &[u8], code: u8, cut: bool) -> Vec<u8> {
    let mut answer = query.to_vec();
    (answer[2], answer[3]) = (0x81 | u8::from(cut) << 1, 0x80 | code);
    answer
}

/// A server on both transports of one port.
async fn server(udp: Respond, tcp: Respond) -> SocketAddr {
    let (datagrams, listener) = loop {
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = datagrams.local_addr().unwrap();
        if let Ok(listener) = TcpListener::bind(at).await {
            break (datagrams, listener);
        }
    };
    let at = datagrams.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        loop {
            let (length, from) = datagrams.recv_from(&mut buffer).await.unwrap();
            for answer in udp(&buffer[..length]) {
                datagrams.send_to(&answer, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut query = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut query).await.unwrap();
            for answer in tcp(&query) {
                stream.write_all(&answer).await.unwrap();
            }
        }
    });
    at
}

/// A message as it is sent over TCP.
fn framed(message: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes()[..], &message].concat()
}

#[tokio::test]
async fn each_kind_of_server() {
    let rows: &[(&str, Respond, Respond, Reply, Reply)] = &[
        (
            "answers",
            |query| vec![code(query, 0, false)],
            |query| vec![framed(code(query, 0, false))],
            Reply::Code(0, false),
            Reply::Code(0, false),
        ),
        (
            "SERVFAIL, and a cut answer",
            |query| vec![code(query, 2, true)],
            |query| vec![framed(code(query, 2, false))],
            Reply::Code(2, true),
            Reply::Code(2, false),
        ),
        (
            "other datagrams first; half an answer",
            |query| {
                let mut other = code(query, 0, false);
                other[0] ^= 0xff;
                vec![query.to_vec(), other, vec![7], code(query, 3, false)]
            },
            |query| vec![framed(code(query, 0, false))[..9].to_vec()],
            Reply::Code(3, false),
            Reply::Garbage,
        ),
        (
            "garbage",
            |_| vec![b"HTTP/1.0 400 Bad Request\r\n\r\n".to_vec()],
            |_| vec![b"HTTP/1.0 400 Bad Request\r\n\r\n".to_vec()],
            Reply::Garbage,
            Reply::Garbage,
        ),
        (
            "nothing",
            |_| Vec::new(),
            |_| Vec::new(),
            Reply::Silent,
            Reply::Silent,
        ),
    ];
    for (what, udp, tcp, by_udp, by_tcp) in rows {
        let at = server(*udp, *tcp).await;
        // An answer is awaited however busy the machine is.
        let answers = |reply: &Reply| matches!(reply, Reply::Code(..));
        let deadline = if answers(by_udp) && answers(by_tcp) {
            Duration::from_secs(20)
        } else {
            SHORT * 5
        };
        let (udp, tcp, took) = query(at, None, deadline).await;
        assert_eq!((&udp, &tcp), (by_udp, by_tcp), "{what}");
        assert!(took <= deadline * 2, "{what}: {took:?}");
    }
}

/// A datagram may be lost, and an answer to the first query come after the second.
#[tokio::test]
async fn a_query_is_sent_twice_and_a_late_answer_taken() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let first = buffer[..length].to_vec();
        socket.recv_from(&mut buffer).await.unwrap();
        socket.send_to(&code(&first, 0, false), from).await.unwrap();
    });
    let query = Query::root(7, Kind::Ns);
    let found = over_udp(at, None, &query, Duration::from_secs(4)).await;
    assert_eq!(found, Reply::Code(0, false));
}

#[tokio::test]
async fn no_server_listens() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    drop(socket);
    let (udp, tcp, _) = query(at, None, SHORT).await;
    for reply in [udp, tcp] {
        let why = "Connection refused";
        assert!(
            matches!(&reply, Reply::Failed(text) if text.contains(why)),
            "{reply:?}"
        );
    }
}

#[tokio::test]
async fn public_servers_are_not_queried() {
    let (public, local) = (IpAddr::from([8, 8, 8, 8]), IpAddr::from([127, 0, 0, 1]));
    assert_eq!(query_first(&[], true, SHORT).await, DnsAnswer::NoServer);
    assert_eq!(
        query_first(&[public.into(), local.into()], false, SHORT).await,
        DnsAnswer::Public(public)
    );
}
