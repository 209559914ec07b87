//! The bytes of one connection, in both directions, without reading more than
//! the other side takes.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::task::yield_now;

use crate::context::RelayContext;
use crate::route::Route;

/// Carries until both directions have ended.
///
/// # Errors
///
/// That of the side that broke; the other direction is abandoned with it.
pub(super) async fn both_ways(
    client: &mut TcpStream,
    guest: &mut TcpStream,
    route: &Route,
) -> io::Result<()> {
    let (from_client, to_client) = client.split();
    let (from_guest, to_guest) = guest.split();
    let inward = one_way(from_client, to_guest, &route.context, |bytes| {
        route.count(|counters| counters.bytes_in += bytes);
    });
    let outward = one_way(from_guest, to_client, &route.context, |bytes| {
        route.count(|counters| counters.bytes_out += bytes);
    });
    tokio::try_join!(inward, outward).map(drop)
}

/// Carries one direction until the sender has ended it.
async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    context: &RelayContext,
    count: impl Fn(u64),
) -> io::Result<()> {
    loop {
        let (bytes, is_full, held) = poll_fn(|cx| {
            let mut buffer = context.buffer();
            let mut read = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut from).poll_read(cx, &mut read))?;
            let data = read.filled();
            let taken = match data {
                [] => 0,
                data => match Pin::new(&mut to).poll_write(cx, data) {
                    Poll::Ready(taken) => taken?,
                    Poll::Pending => 0,
                },
            };
            let held = Held::new(context, data.get(taken..).unwrap_or_default());
            Poll::Ready(io::Result::Ok((data.len(), read.remaining() == 0, held)))
        })
        .await?;
        if bytes == 0 {
            // A receiver that has gone already needs no shutdown.
            SockRef::from(to.as_ref()).shutdown(Shutdown::Write).ok();
            return Ok(());
        }
        count(bytes as u64);
        let mut rest = held.data.as_slice();
        while !rest.is_empty() {
            let taken = poll_fn(|cx| Pin::new(&mut to).poll_write(cx, rest)).await?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        drop(held);
        if is_full {
            // There may be more; other tasks get their turn first.
            yield_now().await;
        }
    }
}

/// What was read and is not taken by the receiver yet.
struct Held<'a> {
    context: &'a RelayContext,
    data: Vec<u8>,
}

impl<'a> Held<'a> {
    fn new(context: &'a RelayContext, data: &[u8]) -> Self {
        context.held.update(|held| held + data.len());
        Self {
            context,
            data: data.to_vec(),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.context.held.update(|held| held - self.data.len());
    }
}
