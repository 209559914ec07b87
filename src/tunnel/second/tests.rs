use std::{
    env,
    io::{Read, Write},
    os::unix::net::UnixStream,
    process,
};

use super::*;

fn path(name: &str) -> PathBuf {
    env::temp_dir().join(format!("wslmesh-{name}-{}", process::id()))
}

async fn invite(name: &str) -> (Invitation, [u8; Token::SIZE], PathBuf) {
    let path = path(name);
    let invitation = Invitation::new(Plan::Unix(path.clone())).await.unwrap();
    let ToSwitch::Move { to, token } = invitation.message() else {
        panic!("{:?}", invitation.message());
    };
    let shown = path.to_str().unwrap().to_owned();
    assert_eq!(to, Place::Unix { path: shown });
    (invitation, *token.bytes(), path)
}

fn connect(path: &PathBuf, says: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(says).unwrap();
    stream
}

fn is_closed(mut stream: UnixStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    // What was not read makes it a reset.
    !matches!(stream.read(&mut [0; 1]), Ok(1..))
}

#[tokio::test]
async fn the_connection_with_the_secret_is_taken() {
    let (invitation, token, path) = invite("taken").await;
    let (_, other, there) = invite("other").await;
    assert_ne!(token, other, "two secrets are the same");
    assert!(!there.exists(), "an invitation that is dropped listens on");

    let slow = connect(&path, &token[..31]);
    let mut wrong = token;
    wrong[31] ^= 1;
    let wrong = connect(&path, &wrong);
    let early = connect(&path, &token[..16]);
    drop(early);
    // Frames may follow at once.
    let mut right = connect(&path, &[&token[..], b"frame"].concat());
    let second = invitation.taken().await.unwrap();
    assert!(!path.exists());
    let mut second = std::fs::File::from(second);
    let mut frame = [0; 5];
    second.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"frame");
    second.write_all(b"answer").unwrap();
    right.read_exact(&mut [0; 6]).unwrap();
    assert!(is_closed(wrong));
    assert!(is_closed(slow));
}

#[tokio::test]
async fn without_it_the_wait_has_an_end() {
    let begin = std::time::Instant::now();
    let (invitation, _, path) = invite("nobody").await;
    let why = invitation.taken().await.unwrap_err();
    assert_eq!(why, "the switch did not connect within 1 s");
    assert!((ARRIVAL..5 * ARRIVAL).contains(&begin.elapsed()));
    assert!(!path.exists());

    let (invitation, token, path) = invite("strangers").await;
    // As many as may wait for the accept.
    let strangers: Vec<UnixStream> = (1..STRANGERS)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let other = connect(&path, &[7; Token::SIZE]);
    let why = invitation.taken().await.unwrap_err();
    assert_eq!(why, "only strangers connected within 1 s");
    for stream in strangers {
        assert!(is_closed(stream));
    }
    assert!(is_closed(other));
    // It is late.
    assert!(UnixStream::connect(&path).is_err(), "{token:?}");
}

#[tokio::test]
async fn what_cannot_listen_says_why() {
    let taken = path("taken-already");
    std::fs::write(&taken, "of another").unwrap();
    let missing = PathBuf::from("/nonexistent/socket");
    for (path, mentions) in [(&taken, "in use"), (&missing, "No such file")] {
        let why = Invitation::new(Plan::Unix(path.clone())).await.unwrap_err();
        assert!(why.contains(mentions), "{why}");
    }
    assert_eq!(std::fs::read(&taken).unwrap(), b"of another");
    std::fs::remove_file(&taken).unwrap();
    let why = Plan::Stay("so".to_owned());
    assert_eq!(Invitation::new(why).await.unwrap_err(), "so");
}

#[tokio::test]
async fn a_port_of_vsock_is_the_kernels_choice() {
    // Kernels without it exist.
    let Ok((first, one)) = vsock() else { return };
    let (second, other) = vsock().unwrap();
    assert_ne!(one, other);
    assert!(first.path.is_none() && second.path.is_none());
}
