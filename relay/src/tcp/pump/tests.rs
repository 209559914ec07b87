use std::io::Write as _;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use tokio::net::TcpListener;

use super::*;
use crate::protocol::{Admit, Forward, Listen, Protocol};

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

fn route(context: &Rc<RelayContext>) -> Route {
    let listen = Listen {
        protocol: Protocol::Tcp,
        listen_address: Ipv4Addr::LOCALHOST.into(),
        listen_port: NonZeroU16::MIN,
    };
    let forward = Forward {
        listen,
        connect_address: Ipv4Addr::LOCALHOST.into(),
        connect_port: NonZeroU16::MIN,
        admit: Admit::Any,
        proxy_protocol: None,
    };
    Route::new(&forward, Rc::clone(context))
}

#[tokio::test(start_paused = true)]
async fn client_that_goes_after_half_an_end_is_noticed() {
    let route = route(&Rc::new(RelayContext::new()));
    let (peer, mut client) = pair().await;
    let (_silent, mut guest) = pair().await;
    peer.shutdown(Shutdown::Write).unwrap();
    client.readable().await.unwrap();
    let mut carry = pin!(both_ways(&mut client, &mut guest, &route));
    // As long as it is there, it may wait for the answer.
    let day = Duration::from_secs(86_400);
    let waited = tokio::time::timeout(day, carry.as_mut()).await;
    assert!(waited.is_err(), "{waited:?}");
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    let ended = tokio::time::timeout(day, carry).await;
    assert!(matches!(ended, Ok(Err(_))), "{ended:?}");
}

#[tokio::test]
async fn a_direction_gives_way_after_each_read() {
    let context = Rc::new(RelayContext::new());
    context.held.set(1 << 30);
    let route = route(&context);
    let (mut sender, mut client) = pair().await;
    let (_receiver, mut guest) = pair().await;
    let all = vec![1; 3 * READ];
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
    for reads in 1..=3 {
        assert_eq!(turn(), (reads * READ as u64, true));
    }
    assert_eq!(turn(), (3 * READ as u64, false), "there is no more");
}
