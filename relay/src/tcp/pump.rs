//! The bytes of one connection, in both directions, without reading more than
//! the other side takes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::context::{RelayContext, Route};

/// Reads of one direction before other tasks get their turn.
const READS_PER_TURN: u32 = 4;

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
    let stats = &route.stats;
    let mut inward = Direction::new(&route.context);
    let mut outward = Direction::new(&route.context);
    poll_fn(|cx| {
        let inward = inward.poll(cx, client, guest, |bytes| {
            stats.count(|counters| counters.bytes_in += bytes);
        })?;
        let outward = outward.poll(cx, guest, client, |bytes| {
            stats.count(|counters| counters.bytes_out += bytes);
        })?;
        if inward.is_ready() && outward.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// One direction.
struct Direction<'a> {
    context: &'a RelayContext,
    /// What was read and not written yet, from `written` on.
    held: Vec<u8>,
    written: usize,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Open,
    /// The sender has ended the stream.
    Eof,
    /// So has the relay, towards the receiver.
    ShutDown,
}

impl<'a> Direction<'a> {
    fn new(context: &'a RelayContext) -> Self {
        Self {
            context,
            held: Vec::new(),
            written: 0,
            state: State::Open,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        count: impl Fn(u64),
    ) -> Poll<io::Result<()>> {
        for _ in 0..READS_PER_TURN {
            ready!(self.write_held(cx, to))?;
            match self.state {
                State::Open => {}
                State::Eof => {
                    // A receiver that has gone already needs no shutdown.
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).ok();
                    self.state = State::ShutDown;
                    return Poll::Ready(Ok(()));
                }
                State::ShutDown => return Poll::Ready(Ok(())),
            }
            let carried = self.context.with_buffer(|buffer| {
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *from).poll_read(cx, &mut read))?;
                self.write(cx, to, read.filled())?;
                Poll::Ready(Ok::<usize, io::Error>(read.filled().len()))
            });
            match ready!(carried)? {
                0 => self.state = State::Eof,
                bytes => count(bytes as u64),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what was read, and holds what is not taken.
    fn write(&mut self, cx: &mut Context<'_>, to: &mut TcpStream, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let taken = match Pin::new(to).poll_write(cx, data) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => 0,
        };
        let (_, rest) = data.split_at(taken.min(data.len()));
        if !rest.is_empty() {
            self.held = rest.to_vec();
            self.context.hold(rest.len());
        }
        Ok(())
    }

    /// Writes what is held; ready when nothing is.
    fn write_held(&mut self, cx: &mut Context<'_>, to: &mut TcpStream) -> Poll<io::Result<()>> {
        while let Some((_, rest)) = self.held.split_at_checked(self.written)
            && !rest.is_empty()
        {
            self.written += ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
        }
        self.release();
        Poll::Ready(Ok(()))
    }

    fn release(&mut self) {
        self.context.release(self.held.len());
        self.held = Vec::new();
        self.written = 0;
    }
}

impl Drop for Direction<'_> {
    fn drop(&mut self) {
        self.release();
    }
}
