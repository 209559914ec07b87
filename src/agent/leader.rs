//! One agent for each network namespace.
//!
//! All WSL distributions of a user share one network namespace, and two agents
//! in it would fight. Names of abstract Unix sockets belong to the network
//! namespace (unix(7), network_namespaces(7)), so binding one is the election:
//! atomic, and undone by the kernel when the leader dies.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream},
    },
};

use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, UnixStream},
};

const NAME: &[u8] = b"wslmesh/agent";

/// Standbys whose connections the leader keeps; more of them look again by themselves.
const MOST_STANDBYS: usize = 64;

/// The leadership, for as long as this lives.
#[derive(Debug)]
pub struct Leadership(StdListener);

/// What an attempt to lead gave.
#[derive(Debug)]
pub enum Election {
    /// This process leads.
    Won(Leadership),
    /// Another one does.
    Lost(Leader),
}

/// The agent that leads.
#[derive(Debug)]
pub struct Leader {
    stream: StdStream,
}

/// Tries to lead.
///
/// # Errors
/// The socket could not be made for another reason than that it is taken.
pub fn elect() -> io::Result<Election> {
    let address = SocketAddr::from_abstract_name(NAME)?;
    // The leader may die between the two calls; then the next round is won.
    loop {
        match StdListener::bind_addr(&address) {
            Ok(listener) => return Ok(Election::Won(Leadership(listener))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
        match StdStream::connect_addr(&address) {
            Ok(stream) => return Ok(Election::Lost(Leader { stream })),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
}

impl Leadership {
    /// Keeps the standbys' connections open: their end is how they learn of
    /// this process's end.
    ///
    /// # Errors
    /// The runtime cannot watch the socket.
    pub fn serve(&self) -> io::Result<()> {
        let listener = self.0.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        tokio::spawn(async move {
            let mut standbys = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                standbys.retain(|standby: &UnixStream| matches!(standby.try_read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock));
                if standbys.len() < MOST_STANDBYS {
                    standbys.push(stream);
                }
            }
        });
        Ok(())
    }
}

impl Leader {
    /// Who it is, for messages: its process number is 0 when it lives in
    /// another distribution.
    #[must_use]
    pub fn describe(&self) -> String {
        let credentials = rustix::net::sockopt::socket_peercred(&self.stream);
        match credentials {
            Ok(peer) => format!(
                "process {} of user {}",
                peer.pid.as_raw_nonzero(),
                peer.uid.as_raw()
            ),
            Err(_) => "a process in another distribution".to_owned(),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The runtime cannot watch the connection.
    pub async fn ended(self) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(self.stream)?;
        // It never writes: whatever comes means that it is gone.
        stream.read_u8().await.map(drop).or(Ok(()))
    }
}
