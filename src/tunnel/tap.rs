//! The same guest side with Ethernet frames and without a switch of ours: a u32 (big endian)
//! with the length before each frame, as QEMU's stream sockets, gvproxy and passt have it.
//! It is for comparing ours with them.

use std::{fs::File, net::IpAddr, os::unix::net::UnixStream, path::PathBuf};

use ipnet::IpNet;
use rustix::net::sockopt;
use tokio::select;
use wslmesh_relay::{link::Frames, tun::Kind};

use super::{
    Stop, TunnelError,
    device::Device,
    pump::Pump,
    start::{SOCKET, system},
    ways,
};
use crate::netlink::Netlink;

/// What it is to be.
#[derive(Debug, Clone)]
pub struct Tap {
    /// The device.
    pub name: String,
    /// The other program's socket.
    pub connect: PathBuf,
    /// The device's address with the prefix.
    pub address: IpNet,
    /// Where the default route leads.
    pub gateway: Option<IpAddr>,
    /// Bytes.
    pub mtu: u32,
}

/// Runs it until SIGTERM or SIGINT.
///
/// # Errors
/// The other program ended, or what is asked for cannot be had.
pub async fn run(tap: Tap) -> Result<(), TunnelError> {
    let mut stop = Stop::new()?;
    let socket = UnixStream::connect(&tap.connect)
        .map_err(|error| TunnelError::Connect(tap.connect.display().to_string(), error))?;
    let tune = system("set the size of the socket's buffers");
    sockopt::set_socket_send_buffer_size(&socket, SOCKET).map_err(|error| tune(error.into()))?;
    sockopt::set_socket_recv_buffer_size(&socket, SOCKET).map_err(|error| tune(error.into()))?;
    let device = Device::open(&tap.name, Kind::Tap)?;
    let netlink = Netlink::connect()?;
    ways::plain(&netlink, device.index, tap.address, tap.gateway, tap.mtu).await?;
    let copy = || -> Result<File, TunnelError> {
        let copy = socket.try_clone().map_err(system("copy a descriptor"))?;
        Ok(File::from(std::os::fd::OwnedFd::from(copy)))
    };
    let pump = Pump::start(&device.file, copy()?, copy()?, Frames::default());
    let (_pump, mut messages) = pump.map_err(system("start the threads"))?;
    loop {
        select! {
            message = messages.next() => drop(message?),
            () = stop.requested() => return Ok(()),
        }
    }
}
