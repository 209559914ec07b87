use std::os::unix::net::UnixListener;

use super::*;

#[test]
fn failed_sockets_come_last_until_they_work() {
    let paths = [
        "/run/WSL/1_interop",
        "/run/WSL/700_interop",
        "/run/WSL/1_interop",
    ];
    let order = |aside: &[&str]| {
        ranked(paths.iter().map(PathBuf::from), |path| {
            aside.iter().any(|aside| Path::new(aside) == path)
        })
    };
    let (own, session) = (PathBuf::from(paths[0]), PathBuf::from(paths[1]));
    assert_eq!(order(&[]), [own.clone(), session.clone()]);
    assert_eq!(order(&paths[..1]), [session.clone(), own.clone()]);
    assert_eq!(order(&paths), [own, session]);

    let socket = Path::new("/nonexistent/9_interop");
    set_aside(socket);
    set_aside(socket);
    assert_eq!(failures(socket), 2);
    works(socket);
    assert_eq!(failures(socket), 0);
}

#[test]
fn a_socket_without_room_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1_interop");
    assert_eq!(accepts(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    let listener = UnixListener::bind(&path).unwrap();
    // Room for one, which a connection keeps until it is accepted; the next ones wait.
    rustix::net::listen(&listener, 0).unwrap();
    let begin = Instant::now();
    let full = (0..3).find_map(|_| accepts(&path).err());
    assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
    assert!(begin.elapsed() < ROOM * 3);
    drop(listener);
    let refused = accepts(&path).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn parents_lead_to_the_first_process() {
    let parents: Vec<u32> = parents().collect();
    assert_eq!(parents.first(), Some(&std::os::unix::process::parent_id()));
}
