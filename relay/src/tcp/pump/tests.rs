use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use tokio::net::TcpListener;

use super::*;
use crate::protocol::{Listen, Protocol};

/// What a connection reads at a time while much is held.
const READ: usize = 4096;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The two ends of a connection, the peer's and the relay's.
async fn pair() -> (std::net::TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (peer, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn a_direction_gives_way_after_four_reads() {
    let context = Rc::new(RelayContext::new());
    context.held.set(1 << 30);
    let listen = Listen {
        protocol: Protocol::Tcp,
        listen_address: Ipv4Addr::LOCALHOST,
        listen_port: NonZeroU16::MIN,
    };
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
    let route = Route::new(listen, to, Rc::clone(&context));
    let (mut sender, mut client) = pair().await;
    let (_receiver, mut guest) = pair().await;
    let all = vec![1; 6 * READ];
    sender.write_all(&all).unwrap();
    while client.peek(&mut vec![0; all.len()]).await.unwrap() < all.len() {}
    guest.writable().await.unwrap();

    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut carry = pin!(both_ways(&mut client, &mut guest, &route));
    let mut turn = || {
        let poll = carry.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
        (
            route.counters().bytes_in,
            woken.0.swap(false, Ordering::Relaxed),
        )
    };
    // Woken at once: the driver of the sockets is not asked before the next turn.
    assert_eq!(turn(), (4 * READ as u64, true));
    assert_eq!(turn(), (6 * READ as u64, false), "there is no more");
}
