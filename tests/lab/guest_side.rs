//! The guest's side of a userspace network, as small as it can be: the packets of a tun or
//! the frames of a tap, with a length before each, on a stream. So one client and one kernel
//! measure the switch, gvproxy and passt, and frames can be lost on purpose.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde::{Deserialize, Serialize};
use wslmesh_relay::link::{ToSwitch, VERSION, put_message};

use crate::agent::LIMIT;

/// `@guest-side OPTIONS`, which are a [`GuestSide`] in JSON.
pub(crate) const GUEST_SIDE: &str = "@guest-side";

/// Of a frame, its length and a virtio-net header included.
const FRAME: usize = 66 * 1024;
/// Frames are sent together up to so many bytes.
const BATCH: usize = 256 * 1024;
/// The bit of a length that says control message.
const CONTROL: u32 = 1 << 31;

/// What it runs with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GuestSide {
    /// Name of the tun or tap, which it creates.
    pub(crate) device: String,
    /// Ethernet frames, as QEMU sends them, instead of packets with a virtio-net header.
    pub(crate) tap: bool,
    pub(crate) mtu: u32,
    /// Every so manyth frame is lost, in both directions; 0 for none.
    pub(crate) lose: u64,
    pub(crate) to: OtherEnd,
}

/// What the frames go to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OtherEnd {
    /// The standard streams of this program, in pipes of so many bytes.
    Program(Vec<String>, usize),
    /// A Unix stream socket that listens.
    Socket(String),
}

/// Runs the role [`GUEST_SIDE`].
pub(crate) fn role(options: &str) -> ExitCode {
    let run = || -> Result<()> {
        let options: GuestSide = serde_json::from_str(options)?;
        options.run()
    };
    if let Err(error) = run() {
        eprintln!("guest side: {error:#}");
    }
    ExitCode::FAILURE
}

impl GuestSide {
    fn run(&self) -> Result<()> {
        let device = open(&self.device, self.tap)?;
        self.set_up()?;
        let (mut from, mut to, child) = self.connect()?;
        if !self.tap {
            let mut hello = Vec::new();
            let message = ToSwitch::Hello {
                version: VERSION,
                program: "lab".to_owned(),
                nameservers: Vec::new(),
            };
            put_message(&mut hello, &message);
            to.write_all(&hello)?;
        }
        let (writer, lose) = (device.try_clone()?, self.lose);
        std::thread::spawn(move || {
            let ended = send(&device, &mut to, lose);
            eprintln!("guest side: the link is closed: {ended:?}");
            std::process::exit(4);
        });
        let received = receive(&mut from, &writer, lose);
        if let Some(mut child) = child {
            eprintln!("guest side: the other end exits: {:?}", child.wait());
        }
        received
    }

    /// Address and route of the device.
    fn set_up(&self) -> Result<()> {
        let (name, mtu) = (&self.device, self.mtu);
        let lines = format!(
            "addr add 192.168.127.2/24 dev {name}\nlink set {name} mtu {mtu} up\n\
             route add default via 192.168.127.1 dev {name}\n"
        );
        let mut ip = Command::new("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()?;
        let mut input = ip.stdin.take().context("no standard input")?;
        input.write_all(lines.as_bytes())?;
        drop(input);
        if !ip.wait()?.success() {
            bail!("ip -batch failed: {lines}");
        }
        Ok(())
    }

    fn connect(&self) -> Result<(File, File, Option<Child>)> {
        match &self.to {
            OtherEnd::Socket(path) => {
                let begun = Instant::now();
                // It is there for a moment before its owner listens.
                let stream = loop {
                    match UnixStream::connect(path) {
                        Err(_) if begun.elapsed() < LIMIT => {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        connected => break connected.with_context(|| path.clone())?,
                    }
                };
                let socket = socket2::SockRef::from(&stream);
                socket.set_send_buffer_size(4 << 20)?;
                socket.set_recv_buffer_size(4 << 20)?;
                let other = File::from(OwnedFd::from(stream.try_clone()?));
                Ok((File::from(OwnedFd::from(stream)), other, None))
            }
            OtherEnd::Program(argv, size) => {
                let (program, arguments) = argv.split_first().context("no program")?;
                let mut child = Command::new(program)
                    .args(arguments)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .with_context(|| program.clone())?;
                let input = OwnedFd::from(child.stdin.take().context("no standard input")?);
                let output = OwnedFd::from(child.stdout.take().context("no standard output")?);
                rustix::pipe::fcntl_setpipe_size(&input, *size)?;
                rustix::pipe::fcntl_setpipe_size(&output, *size)?;
                Ok((File::from(output), File::from(input), Some(child)))
            }
        }
    }
}

#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// Creates a tun with virtio-net headers and offloads, or a tap with neither: it lasts as
/// long as the file.
fn open(name: &str, tap: bool) -> Result<File> {
    let path = "/dev/net/tun";
    let device = OpenOptions::new().read(true).write(true).open(path);
    let device = device.context(path)?;
    let flags = if tap {
        libc::IFF_TAP | libc::IFF_NO_PI
    } else {
        libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR
    };
    let mut request = Request {
        name: [0; 16],
        flags: flags.try_into()?,
        rest: [0; 22],
    };
    let place = request.name.get_mut(..name.len()).context("a long name")?;
    place.copy_from_slice(name.as_bytes());
    #[expect(unsafe_code, reason = "neither std nor rustix has these requests")]
    // SAFETY: the request points to a whole ifreq that lives as long as the call.
    let made = unsafe {
        libc::ioctl(
            device.as_raw_fd(),
            libc::TUNSETIFF,
            std::ptr::from_mut(&mut request),
        )
    };
    if made != 0 {
        return Err(std::io::Error::last_os_error()).context("TUNSETIFF");
    }
    if !tap {
        let offloads = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        #[expect(unsafe_code, reason = "neither std nor rustix has these requests")]
        // SAFETY: the argument of this request is a number.
        let set = unsafe {
            libc::ioctl(
                device.as_raw_fd(),
                libc::TUNSETOFFLOAD,
                libc::c_ulong::from(offloads),
            )
        };
        if set != 0 {
            return Err(std::io::Error::last_os_error()).context("TUNSETOFFLOAD");
        }
    }
    fcntl_setfl(&device, fcntl_getfl(&device)? | OFlags::NONBLOCK)?;
    Ok(device)
}

/// Whether this one is lost.
fn lost(count: &mut u64, lose: u64) -> bool {
    *count += 1;
    lose > 0 && count.is_multiple_of(lose)
}

/// From the device to the link, until that closes.
fn send(mut device: &File, link: &mut File, lose: u64) -> Result<()> {
    let mut buffer = vec![0; BATCH + FRAME];
    let mut count = 0;
    loop {
        let mut length = 0;
        loop {
            let body = buffer.get_mut(length + 4..length + FRAME);
            match device.read(body.context("no room")?) {
                Ok(_) if lost(&mut count, lose) => {}
                Ok(read) => {
                    let prefix = buffer.get_mut(length..length + 4).context("no room")?;
                    prefix.copy_from_slice(&u32::try_from(read)?.to_be_bytes());
                    length += 4 + read;
                    if length >= BATCH {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if length > 0 {
                        break;
                    }
                    poll(&mut [PollFd::new(device, PollFlags::IN)], None)?;
                }
                Err(error) => return Err(error).context("reading the device"),
            }
        }
        link.write_all(buffer.get(..length).unwrap_or_default())?;
    }
}

/// From the link to the device, until the link closes.
fn receive(link: &mut File, mut device: &File, lose: u64) -> Result<()> {
    let mut buffer = vec![0; 2 * BATCH];
    let (mut end, mut count) = (0, 0);
    loop {
        let read = link.read(buffer.get_mut(end..).unwrap_or_default())?;
        if read == 0 {
            bail!("the link is closed");
        }
        end += read;
        let mut at = 0;
        while let Some(prefix) = buffer.get(at..end).and_then(<[u8]>::first_chunk) {
            let announced = u32::from_be_bytes(*prefix);
            let length = usize::try_from(announced & !CONTROL)?;
            if length > FRAME {
                bail!("a frame of {length} bytes");
            }
            let Some(frame) = buffer.get(at + 4..(at + 4 + length).min(end)) else {
                break;
            };
            if frame.len() < length {
                break;
            }
            at += 4 + length;
            if announced & CONTROL == 0 && !lost(&mut count, lose) {
                // What the kernel does not take is lost, as on a network.
                drop(device.write(frame));
            }
        }
        buffer.copy_within(at..end, 0);
        end -= at;
    }
}
