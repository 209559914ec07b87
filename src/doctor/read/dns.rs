//! /etc/resolv.conf, and one question to its first server.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use tokio::{net::UdpSocket, time::timeout};

use super::{
    super::{
        facts::{Answer, Text},
        resolv::servers,
    },
    root::Root,
};

/// The file; the question is another's.
#[derive(Debug)]
pub(super) struct File {
    pub(super) text: Text<String>,
    pub(super) link: Option<String>,
    pub(super) immutable: bool,
}

pub(super) fn file(root: &Root) -> File {
    const PATH: &str = "/etc/resolv.conf";
    let link = fs::read_link(root.at(PATH)).ok();
    let found = statx(CWD, root.at(PATH), AtFlags::empty(), StatxFlags::empty());
    File {
        text: root.text(PATH, 64 << 10),
        link: link.map(|link| link.display().to_string()),
        immutable: found
            .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::IMMUTABLE)),
    }
}

/// Longest wait for an answer, and how often it is asked for: a datagram may be lost.
const PATIENCE: Duration = Duration::from_millis(700);
const TIMES: usize = 2;

/// Asks the first server of the text. A server that is in no private network is a
/// stranger and is asked only when that is wanted.
pub(super) async fn ask(text: &Text<String>, strangers: bool) -> Answer {
    let first = text
        .content()
        .and_then(|text| servers(text).first().copied());
    match first {
        None => Answer::NoServer,
        Some(server) if !strangers && !is_near(server) => Answer::Stranger(server),
        Some(server) => match query(SocketAddr::new(server, 53)).await {
            Ok(code) => Answer::Code(server, code),
            Err(how) => Answer::Silent(server, how),
        },
    }
}

/// This machine, Windows, the home network, or a tunnel's: 100.64.0.0/10 is where
/// Tailscale has its server.
fn is_near(server: IpAddr) -> bool {
    match server {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// "Who serves the root?" (RFC 1035, section 4): the shortest question, and one
/// that tells nothing of who asks.
const QUESTION: [u8; 17] = [
    0x77, 0x6d, // the number by which an answer is known
    0x01, 0x00, // a question, recursion wanted
    0, 1, 0, 0, 0, 0, 0, 0, // one question and nothing else
    0, // the root
    0, 2, // NS
    0, 1, // of the Internet
];

async fn query(server: SocketAddr) -> Result<u8, String> {
    let wild: SocketAddr = if server.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let ask = async {
        let socket = UdpSocket::bind(wild).await?;
        socket.connect(server).await?;
        for _ in 0..TIMES {
            socket.send(&QUESTION).await?;
            if let Ok(answer) = timeout(PATIENCE, hear(&socket)).await {
                return answer.map(Some);
            }
        }
        Ok(None)
    };
    match ask.await {
        Ok(Some(code)) => Ok(code),
        Ok(None) => Err("did not answer".to_owned()),
        Err(error) => Err(format!("cannot be asked: {error}")),
    }
}

/// The code of the answer to our question; other datagrams are passed over.
async fn hear(socket: &UdpSocket) -> io::Result<u8> {
    let mut buffer = [0; 512];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some([a, b, flags, code, ..]) = buffer.get(..length)
            && QUESTION.starts_with(&[*a, *b])
            && flags & 0x80 != 0
        {
            return Ok(code & 0x0f);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers with these datagrams.
    async fn server(answers: Vec<Vec<u8>>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 64];
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            assert_eq!(buffer[..length], QUESTION);
            for answer in answers {
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn answers_are_told_from_noise() {
        let answer = |code: u8| vec![0x77, 0x6d, 0x81, 0x80 | code, 0, 1];
        let echo = QUESTION.to_vec();
        let other = vec![1, 2, 0x81, 0x80];
        let address = server(vec![echo, other, vec![0x77], answer(2)]).await;
        assert_eq!(query(address).await, Ok(2));
        let address = server(vec![answer(0)]).await;
        assert_eq!(query(address).await, Ok(0));
    }

    #[tokio::test]
    async fn silence_and_nobody() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        assert_eq!(query(address).await, Err("did not answer".into()));
        drop(silent);
        let said = query(address).await.unwrap_err();
        assert!(said.starts_with("cannot be asked"), "{said}");
    }

    #[tokio::test]
    async fn strangers_are_left_alone() {
        let text = |text: &str| Text::Content(text.to_owned());
        assert_eq!(ask(&text("search lan"), true).await, Answer::NoServer);
        assert_eq!(ask(&Text::Missing, true).await, Answer::NoServer);
        let stranger = "nameserver 8.8.8.8\nnameserver 127.0.0.1\n";
        assert_eq!(
            ask(&text(stranger), false).await,
            Answer::Stranger([8, 8, 8, 8].into())
        );
        for (ip, near) in [
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
            assert_eq!(is_near(ip.parse().unwrap()), near, "{ip}");
        }
    }
}
