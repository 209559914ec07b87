//! The bytes of one connection, both ways, without reading what the other side
//! does not take.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::super::board::Board;
use super::super::tally::Tally;

/// Reads of one direction before others get their turn.
const TURN: u32 = 4;

/// Carries until both directions have ended.
///
/// # Errors
///
/// That of the side that broke; the other direction is given up with it.
pub(super) async fn both_ways(
    client: &mut TcpStream,
    guest: &mut TcpStream,
    tally: &Tally,
    board: &Board,
) -> io::Result<()> {
    let mut inward = Way::new(board);
    let mut outward = Way::new(board);
    poll_fn(|cx| {
        let inward = inward.poll(cx, client, guest, |bytes| tally.carry_in(bytes))?;
        let outward = outward.poll(cx, guest, client, |bytes| tally.carry_out(bytes))?;
        if inward.is_ready() && outward.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// One direction.
struct Way<'a> {
    board: &'a Board,
    /// What was read and not taken yet, from `sent` on.
    held: Vec<u8>,
    sent: usize,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Open,
    /// The sender has said its last byte.
    Ended,
    /// The receiver knows that.
    Closed,
}

impl<'a> Way<'a> {
    fn new(board: &'a Board) -> Self {
        Self {
            board,
            held: Vec::new(),
            sent: 0,
            stage: Stage::Open,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        count: impl Fn(usize),
    ) -> Poll<io::Result<()>> {
        for _ in 0..TURN {
            ready!(self.deliver(cx, to))?;
            match self.stage {
                Stage::Open => {}
                Stage::Ended => {
                    // A receiver that is gone already needs no farewell.
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).ok();
                    self.stage = Stage::Closed;
                    return Poll::Ready(Ok(()));
                }
                Stage::Closed => return Poll::Ready(Ok(())),
            }
            let board = self.board;
            let carried = board.with_buffer(|buffer| {
                let (buffer, _) = buffer.split_at_mut(board.read_size().min(buffer.len()));
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *from).poll_read(cx, &mut read))?;
                self.pass_on(cx, to, read.filled())?;
                Poll::Ready(Ok::<usize, io::Error>(read.filled().len()))
            });
            match ready!(carried)? {
                0 => self.stage = Stage::Ended,
                bytes => count(bytes),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what was read, and keeps what is not taken.
    fn pass_on(&mut self, cx: &mut Context<'_>, to: &mut TcpStream, data: &[u8]) -> io::Result<()> {
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
            self.board.hold(rest.len());
        }
        Ok(())
    }

    /// Sends what is held; ready when nothing is.
    fn deliver(&mut self, cx: &mut Context<'_>, to: &mut TcpStream) -> Poll<io::Result<()>> {
        while let Some((_, rest)) = self.held.split_at_checked(self.sent)
            && !rest.is_empty()
        {
            self.sent += ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
        }
        self.let_go();
        Poll::Ready(Ok(()))
    }

    fn let_go(&mut self) {
        self.board.release(self.held.len());
        self.held = Vec::new();
        self.sent = 0;
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}
