//! Endpoints of WireGuard's peers by name: what the configuration says, and where a name
//! leads.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use crate::{
    blocking::{KeyedFlights, SingleFlight, run_blocking},
    model::{EndpointName, EndpointNames, InterfaceName},
    wireguard,
};

/// Longest wait for the files.
const READ_DEADLINE: Duration = Duration::from_secs(1);

/// Longest wait for a name, shorter than the C library's own (resolv.conf(5): 5 s for each
/// server and attempt): what needs a peer waits for this.
const LOOK_UP_DEADLINE: Duration = Duration::from_secs(3);

/// Most look-ups in flight, each of which is a thread: those of silent peers and those of a
/// recovery. The C library waits longer than the deadline for servers that do not answer, and
/// threads that hang must leave some of TasksMax= to others.
const LOOK_UPS: usize = 64;

/// Most addresses of a name.
const ADDRESSES: usize = 16;

/// Reads configurations and looks names up, off the loop.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    reads: SingleFlight,
    look_ups: KeyedFlights<EndpointName>,
}

impl Endpoints {
    /// The names by which these devices' peers have their endpoints; `None` where the files
    /// cannot be read in time.
    pub async fn names(&self, devices: Vec<InterfaceName>) -> Option<EndpointNames> {
        let read = move || wireguard::endpoint_names(Path::new("/"), &devices);
        let names = async { run_blocking(self.reads.begin()?, READ_DEADLINE, read).await };
        names.await.ok()
    }

    /// The addresses of a name, the best first (RFC 6724), as all programs get them.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn look_up(&self, name: &EndpointName) -> Result<Vec<SocketAddr>, String> {
        if self.look_ups.count() >= LOOK_UPS {
            return Err(format!("{LOOK_UPS} earlier look-ups still hang"));
        }
        let asked = name.clone();
        let call = move || {
            let found = (asked.host.as_str(), asked.port).to_socket_addrs()?;
            Ok::<Vec<_>, std::io::Error>(found.take(ADDRESSES).collect())
        };
        let found =
            async { run_blocking(self.look_ups.begin(name)?, LOOK_UP_DEADLINE, call).await };
        match found.await {
            Ok(Ok(addresses)) if addresses.is_empty() => Err("it has no address".to_owned()),
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_has_addresses_or_a_reason() {
        let name = |host: &str| EndpointName {
            host: host.to_owned(),
            port: 7,
        };
        let endpoints = Endpoints::default();
        let found = endpoints.look_up(&name("localhost")).await.unwrap();
        assert!(
            found
                .iter()
                .all(|at| at.ip().is_loopback() && at.port() == 7)
        );
        // No resolver is asked for such a label (RFC 1035, section 2.3.4).
        let why = endpoints.look_up(&name(&"a".repeat(64))).await;
        assert!(why.is_err(), "{why:?}");
    }

    /// Name servers that do not answer: the C library waits longer for them than this does.
    #[tokio::test]
    async fn look_ups_that_hang_leave_threads_to_others() {
        let endpoints = Endpoints::default();
        let name = |number: usize| EndpointName {
            host: format!("peer{number}.example.org"),
            port: 7,
        };
        let hanging = (0..LOOK_UPS).map(|number| endpoints.look_ups.begin(&name(number)));
        let mut hanging: Vec<_> = hanging.map(Result::unwrap).collect();
        let localhost = EndpointName {
            host: "localhost".to_owned(),
            port: 7,
        };
        let why = endpoints.look_up(&localhost).await;
        assert_eq!(why, Err("64 earlier look-ups still hang".to_owned()));
        hanging.pop();
        assert!(endpoints.look_up(&localhost).await.is_ok());
    }
}
