//! Moves frames between the device and the switch: one thread for each direction, so that
//! each reads whatever the state of the other's output. A chain of pipes whose ends do not
//! read while they write stops for good. Packets may move to a second way (second.rs), which
//! has a thread of its own for what it brings.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::{Errno, retry_on_intr},
};
use tokio::sync::{Notify, mpsc};
use wslmesh_relay::link::{
    self, Frame, Frames, FromSwitch, HEADER, LinkError, MAX_PACKET, PREFIX, ToSwitch,
};

use super::beat::Traffic;

/// What is collected before it is written, in bytes: a call costs more than copying.
const BATCH: usize = 256 * 1024;
/// Room for one more packet.
const ROOM: usize = PREFIX + HEADER + MAX_PACKET;
/// Messages of the switch that wait; a good one has one or two.
const MESSAGES: usize = 64;

/// Why packets do not pass any more.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The switch's end is closed.
    #[error("the switch ended")]
    Closed,
    /// A pipe failed.
    #[error("the pipe to the switch failed: {0}")]
    Pipe(io::Error),
    /// The switch sends what is no frame.
    #[error("the switch violated the protocol: {0}")]
    Link(#[from] LinkError),
    /// It sends messages without being asked.
    #[error("the switch floods its link with messages")]
    Flood,
    /// The second way failed.
    #[error("the switch's connection for packets broke")]
    SecondWay,
    /// The device failed.
    #[error("the device was removed: {0}")]
    Device(io::Error),
}

/// What the two threads share with the rest.
#[derive(Debug)]
struct Shared {
    sent: AtomicU64,
    heard: AtomicU64,
    /// Whether the next packet is to be reported.
    armed: AtomicBool,
    woken: Notify,
    /// Why one of them ended.
    fault: Mutex<Option<Fault>>,
    ended: Notify,
    orders: Mutex<Orders>,
    stop: AtomicBool,
    wake: OwnedFd,
}

/// What is to be done before further packets are written.
#[derive(Debug, Default)]
struct Orders {
    /// Frames to write.
    frames: Vec<u8>,
    /// Behind them packets go here.
    second: Option<File>,
}

/// The running threads.
#[derive(Debug)]
pub(super) struct Pump {
    device: Arc<File>,
    shared: Arc<Shared>,
    /// The second way.
    second: Option<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

/// What the switch says.
#[derive(Debug)]
pub(super) struct Messages {
    shared: Arc<Shared>,
    received: mpsc::Receiver<FromSwitch>,
}

impl Messages {
    /// The switch's next message, or why there are no more. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<FromSwitch, Fault> {
        tokio::select! {
            biased;
            Some(message) = self.received.recv() => Ok(message),
            () = self.shared.ended.notified() => {
                Err(lock(&self.shared.fault).take().unwrap_or(Fault::Closed))
            }
        }
    }
}

impl Pump {
    /// Starts the threads. `frames` holds what was read already.
    ///
    /// # Errors
    /// No thread or descriptor is to be had.
    pub(super) fn start(
        device: &Arc<File>,
        from: File,
        to: File,
        frames: Frames,
    ) -> io::Result<(Self, Messages)> {
        let shared = Arc::new(Shared {
            sent: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            armed: AtomicBool::new(true),
            woken: Notify::new(),
            fault: Mutex::new(None),
            ended: Notify::new(),
            orders: Mutex::default(),
            stop: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let (sender, received) = mpsc::channel(MESSAGES);
        let mut pump = Self {
            device: device.clone(),
            shared: shared.clone(),
            second: None,
            threads: Vec::new(),
        };
        let messages = Messages {
            shared: shared.clone(),
            received,
        };
        let (tun, of) = (device.clone(), shared.clone());
        pump.spawn("tunnel-out", move || outbound(&tun, to, &of))?;
        let (tun, of) = (device.clone(), shared);
        pump.spawn("tunnel-in", move || {
            inbound(&tun, from, frames, Some(&sender), &of)
        })?;
        Ok((pump, messages))
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<(), Fault> + Send + 'static,
    ) -> io::Result<()> {
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(move || {
            if let Err(fault) = work() {
                lock(&shared.fault).get_or_insert(fault);
                shared.ended.notify_one();
            }
        })?);
        Ok(())
    }

    /// Has a message written at the next end of a frame.
    pub(super) fn send(&self, message: &ToSwitch) {
        link::put_message(&mut lock(&self.shared.orders).frames, message);
        self.wake();
    }

    /// Has packets go by a second way, behind [`ToSwitch::Moved`].
    ///
    /// # Errors
    /// No descriptor is to be had; nothing has changed.
    pub(super) fn leave(&mut self, second: OwnedFd) -> io::Result<()> {
        self.second = Some(second.try_clone()?);
        {
            let mut orders = lock(&self.shared.orders);
            link::put_message(&mut orders.frames, &ToSwitch::Moved);
            orders.second = Some(second.into());
        }
        self.wake();
        Ok(())
    }

    /// Takes packets from the second way, once the switch has moved.
    ///
    /// # Errors
    /// No thread or descriptor is to be had, or there is no second way.
    pub(super) fn arrive(&mut self) -> io::Result<()> {
        let second = self.second.as_ref().ok_or(ErrorKind::NotConnected)?;
        let from = File::from(second.try_clone()?);
        let (tun, of) = (self.device.clone(), self.shared.clone());
        self.spawn("tunnel-second", move || {
            inbound(&tun, from, Frames::default(), None, &of).map_err(of_second)
        })
    }

    fn wake(&self) {
        rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes())
            .map(drop)
            .unwrap_or_default();
    }

    /// Counts that grow with every batch.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            sent: self.shared.sent.load(Ordering::Relaxed),
            heard: self.shared.heard.load(Ordering::Relaxed),
        }
    }

    /// Waits for packets to the switch after `since`. Cancel safe.
    pub(super) async fn sent_after(&self, since: Traffic) {
        loop {
            // Sequentially consistent, as in `count`: one of the two sees the other's store.
            self.shared.armed.store(true, Ordering::SeqCst);
            if self.shared.sent.load(Ordering::SeqCst) != since.sent {
                return;
            }
            self.shared.woken.notified().await;
        }
    }

    /// Waits for the threads, once the other ends of their pipes are closed. Blocks.
    pub(super) fn join(mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wake();
        if let Some(second) = &self.second {
            // Its threads do not end by the end of the switch alone.
            rustix::net::shutdown(second, rustix::net::Shutdown::Both).unwrap_or_default();
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or_default();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn count(&self) {
        self.sent.fetch_add(1, Ordering::SeqCst);
        if self.armed.load(Ordering::SeqCst) && self.armed.swap(false, Ordering::SeqCst) {
            self.woken.notify_one();
        }
    }
}

/// Device to switch.
fn outbound(tun: &File, mut pipe: File, shared: &Shared) -> Result<(), Fault> {
    let mut batch = vec![0; BATCH + ROOM];
    let mut second: Option<File> = None;
    loop {
        wait(tun, &pipe, second.as_ref(), shared)?;
        if shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let orders = std::mem::take(&mut *lock(&shared.orders));
        pipe.write_all(&orders.frames).map_err(pipe_fault)?;
        second = orders.second.or(second);
        let used = read_batch(tun, &mut batch)?;
        if used > 0 {
            // Before it is written, which may hang.
            shared.count();
            let packets = batch.get(..used).unwrap_or_default();
            match &mut second {
                Some(second) => second
                    .write_all(packets)
                    .map_err(pipe_fault)
                    .map_err(of_second)?,
                None => pipe.write_all(packets).map_err(pipe_fault)?,
            }
        }
    }
}

/// Waits for a packet, an order, or the end of the switch.
fn wait(tun: &File, pipe: &File, second: Option<&File>, shared: &Shared) -> Result<(), Fault> {
    let mut ready = [
        PollFd::new(tun, PollFlags::IN),
        PollFd::new(&shared.wake, PollFlags::IN),
        // Nothing but errors.
        PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::empty()),
        PollFd::from_borrowed_fd(second.unwrap_or(pipe).as_fd(), PollFlags::empty()),
    ];
    retry_on_intr(|| poll(&mut ready, None)).map_err(|error| Fault::Pipe(error.into()))?;
    let [device, woken, end, second_end] = ready.map(|one| one.revents());
    if !end.is_empty() {
        return Err(Fault::Closed);
    }
    if !second_end.is_empty() {
        return Err(Fault::SecondWay);
    }
    if device.intersects(PollFlags::ERR | PollFlags::NVAL) {
        return Err(Fault::Device(ErrorKind::NotFound.into()));
    }
    if !woken.is_empty() {
        let mut count = [0; 8];
        rustix::io::read(&shared.wake, &mut count)
            .map(drop)
            .unwrap_or_default();
    }
    Ok(())
}

/// Fills the batch with the frames of the packets that wait; the bytes used.
fn read_batch(mut tun: &File, batch: &mut [u8]) -> Result<usize, Fault> {
    let mut used = 0;
    while used < BATCH {
        let Some((length, body)) = batch
            .get_mut(used..used + ROOM)
            .and_then(|room| room.split_first_chunk_mut::<PREFIX>())
        else {
            break;
        };
        match tun.read(body) {
            Ok(read) => {
                *length = u32::try_from(read).unwrap_or_default().to_be_bytes();
                used += PREFIX + read;
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => break,
                ErrorKind::Interrupted => {}
                _ => return Err(Fault::Device(error)),
            },
        }
    }
    Ok(used)
}

/// Switch to device. Without `messages` it is the second way.
fn inbound(
    mut tun: &File,
    mut pipe: File,
    mut frames: Frames,
    messages: Option<&mpsc::Sender<FromSwitch>>,
    shared: &Shared,
) -> Result<(), Fault> {
    let mut left = false;
    loop {
        while let Some(frame) = frames.next_frame()? {
            match frame {
                Frame::Packet(_) if left => {
                    Err(LinkError::Misplaced("a packet behind the end of packets"))?
                }
                Frame::Packet(packet) => match tun.write(packet) {
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::BADFD) => {
                        return Err(Fault::Device(error));
                    }
                    // The link is down, or the kernel takes no such packet: lost, as on
                    // any network.
                    Ok(_) | Err(_) => {}
                },
                Frame::Control(body) => {
                    let messages = messages.ok_or(LinkError::Misplaced(
                        "a control message among packets alone",
                    ))?;
                    let message = link::message(body)?;
                    left |= message == FromSwitch::Moved;
                    messages.try_send(message).map_err(|_| Fault::Flood)?;
                }
            }
        }
        match pipe.read(frames.space()) {
            Ok(0) => return Err(Fault::Closed),
            Ok(read) => {
                frames.filled(read);
                shared.heard.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(pipe_fault(error)),
        }
    }
}

fn pipe_fault(error: io::Error) -> Fault {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Fault::Closed,
        _ => Fault::Pipe(error),
    }
}

/// Of the second way, whose end says less than the switch's.
fn of_second(fault: Fault) -> Fault {
    match fault {
        Fault::Closed | Fault::Pipe(_) => Fault::SecondWay,
        fault => fault,
    }
}

#[cfg(test)]
mod tests;
