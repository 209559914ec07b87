use super::*;

/// A server that answers with these datagrams.
async fn server(answers: Vec<Vec<u8>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(buffer[..length], QUERY);
        for answer in answers {
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn other_datagrams_are_ignored() {
    let answer = |code: u8| vec![0x77, 0x6d, 0x81, 0x80 | code, 0, 1];
    let echo = QUERY.to_vec();
    let other = vec![1, 2, 0x81, 0x80];
    let address = server(vec![echo, other, vec![0x77], answer(2)]).await;
    assert_eq!(query(address).await.unwrap(), Some(2));
    let address = server(vec![answer(0)]).await;
    assert_eq!(query(address).await.unwrap(), Some(0));
}

#[tokio::test]
async fn no_answer_and_no_server() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    assert_eq!(query(address).await.unwrap(), None);
    drop(silent);
    assert!(query(address).await.is_err());
}

#[tokio::test]
async fn public_servers_are_not_queried() {
    let (public, local) = (IpAddr::from([8, 8, 8, 8]), IpAddr::from([127, 0, 0, 1]));
    assert_eq!(query_first(&[], true).await, Answer::NoServer);
    assert_eq!(
        query_first(&[public.into(), local.into()], false).await,
        Answer::Public(public)
    );
    for (ip, private) in [
        ("10.255.255.254", true),
        ("127.0.0.53", true),
        ("172.28.16.1", true),
        ("100.100.100.100", true),
        ("100.128.0.1", false),
        ("1.1.1.1", false),
        ("fd00::1", true),
        ("fe80::1", true),
        ("2001:4860:4860::8888", false),
    ] {
        assert_eq!(is_private(ip.parse().unwrap()), private, "{ip}");
    }
}

#[test]
fn what_a_query_shows() {
    let server = [127, 0, 0, 53].into();
    assert_eq!(answer(server, Ok(Some(3))), Answer::Code(server, 3));
    let silent = |result| match answer(server, result) {
        Answer::Silent(ip, why) if ip == server => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(silent(Ok(None)), "did not answer");
    let unreachable = rustix::io::Errno::NETUNREACH;
    assert_eq!(
        silent(Err(unreachable.into())),
        "cannot be queried: Network is unreachable (os error 101)"
    );
}
