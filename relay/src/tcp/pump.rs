//! The bytes of one connection, in both directions, without reading more than
//! the other side takes.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::context::RelayContext;
use crate::route::Route;

/// How often a side that sends no more is looked at: nothing is read from it by which its
/// end would be noticed. Longer than the system takes to begin to probe it.
const HALF_OPEN_CHECK: Duration = Duration::from_secs(150);

/// What the two directions of a connection tell each other.
#[derive(Default)]
struct Ends {
    /// One of them has ended.
    half: Cell<bool>,
    both: Notify,
}

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
    let ends = Ends::default();
    let inward = one_way(from_client, to_guest, &route.context, &ends, |bytes| {
        route.count(|counters| counters.bytes_in += bytes);
    });
    let outward = one_way(from_guest, to_client, &route.context, &ends, |bytes| {
        route.count(|counters| counters.bytes_out += bytes);
    });
    tokio::try_join!(inward, outward).map(drop)
}

/// Carries one direction until the sender has ended it. The first to end then waits for
/// the other one, and fails if its sender is gone.
async fn one_way(
    mut from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    context: &RelayContext,
    ends: &Ends,
    count: impl Fn(u64),
) -> io::Result<()> {
    carry(&mut from, to, context, count).await?;
    if ends.half.replace(true) {
        ends.both.notify_one();
        return Ok(());
    }
    loop {
        tokio::select! {
            () = ends.both.notified() => return Ok(()),
            () = sleep(HALF_OPEN_CHECK) => {}
        }
        super::check(from.as_ref())?;
    }
}

/// The same, without the wait. One read is a turn: meanwhile the senders of other
/// connections fill their sockets, and all are carried in fewer, larger pieces.
async fn carry(
    from: &mut ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    context: &RelayContext,
    count: impl Fn(u64),
) -> io::Result<()> {
    loop {
        let (bytes, held) = poll_fn(|cx| {
            let mut buffer = context.buffer();
            let mut read = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut read))?;
            let data = read.filled();
            let taken = match data {
                [] => 0,
                data => match Pin::new(&mut to).poll_write(cx, data) {
                    Poll::Ready(taken) => taken?,
                    Poll::Pending => 0,
                },
            };
            let held = Held::new(context, data.get(taken..).unwrap_or_default());
            Poll::Ready(io::Result::Ok((data.len(), held)))
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
        give_way().await;
    }
}

/// Goes to the end of the queue. Unlike tokio's `yield_now` it does not ask the system for
/// events first.
async fn give_way() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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

#[cfg(test)]
mod tests;
