//! A stand-in for systemd-resolved on the world's bus. The real one is met in
//! tests/system/44-dns.sh.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use anyhow::{Result, bail};
use zbus::object_server::ObjectServer;
use zbus::wire::{ObjectPath, OwnedObjectPath};
use zbus::{Connection, fdo, interface};

use crate::dbus::talk;
use crate::world::World;

const MANAGER: &str = "/org/freedesktop/resolve1";

/// Servers, domains, and whether names of no domain go there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LinkState {
    pub(crate) servers: Vec<(i32, Vec<u8>)>,
    pub(crate) domains: Vec<(String, bool)>,
    pub(crate) default_route: bool,
}

/// Link, class, type and the record itself.
type Records = Vec<(i32, u16, u16, Vec<u8>)>;

type Links = Arc<Mutex<BTreeMap<i32, LinkState>>>;

fn change(links: &Links, index: i32, change: impl FnOnce(&mut LinkState)) {
    let mut links = links.lock().unwrap_or_else(PoisonError::into_inner);
    change(links.entry(index).or_default());
}

fn state(links: &Links, index: i32) -> LinkState {
    let links = links.lock().unwrap_or_else(PoisonError::into_inner);
    links.get(&index).cloned().unwrap_or_default()
}

struct Manager(Links);

#[interface(name = "org.freedesktop.resolve1.Manager")]
impl Manager {
    async fn get_link(
        &self,
        index: i32,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> fdo::Result<OwnedObjectPath> {
        let path = format!("{MANAGER}/link/_{index}");
        let path = ObjectPath::try_from(path).map_err(|e| fdo::Error::Failed(e.to_string()))?;
        server.at(&path, Link(index, Arc::clone(&self.0))).await?;
        Ok(path.into())
    }

    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, index: i32, servers: Vec<(i32, Vec<u8>)>) {
        change(&self.0, index, |link| link.servers = servers);
    }

    fn set_link_domains(&self, index: i32, domains: Vec<(String, bool)>) {
        change(&self.0, index, |link| link.domains = domains);
    }

    fn set_link_default_route(&self, index: i32, enable: bool) {
        change(&self.0, index, |link| link.default_route = enable);
    }

    fn revert_link(&self, index: i32) {
        change(&self.0, index, |link| *link = LinkState::default());
    }

    /// A zone has its start of authority where a link has its domain.
    fn resolve_record(
        &self,
        _index: i32,
        name: &str,
        _class: u16,
        _kind: u16,
        _flags: u64,
    ) -> fdo::Result<(Records, u64)> {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut domains = links.values().flat_map(|link| &link.domains);
        match domains.any(|(domain, _)| domain == name) {
            true => Ok((vec![(0, 1, 6, vec![0])], 0)),
            false => Err(fdo::Error::Failed(
                "All attempts to contact name servers failed".into(),
            )),
        }
    }
}

struct Link(i32, Links);

#[interface(name = "org.freedesktop.resolve1.Link")]
impl Link {
    #[zbus(property, name = "DNS")]
    fn dns(&self) -> Vec<(i32, Vec<u8>)> {
        state(&self.1, self.0).servers
    }
    #[zbus(property)]
    fn domains(&self) -> Vec<(String, bool)> {
        state(&self.1, self.0).domains
    }
    #[zbus(property)]
    fn default_route(&self) -> bool {
        state(&self.1, self.0).default_route
    }
}

/// One that runs until this is dropped.
pub(crate) struct Resolved {
    links: Links,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl World {
    /// Starts it on the bus.
    pub(crate) fn start_resolved(&self) -> Result<Resolved> {
        let links = Links::default();
        let bus: Connection = talk(self.bus())?;
        drop(bus);
        let address = self.bus_address();
        let (end, ended) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let manager = Manager(Arc::clone(&links));
        let thread = std::thread::spawn(move || {
            talk(async {
                let built = zbus::connection::Builder::address(address.as_str())
                    .user_id(0)
                    .serve_at(MANAGER, manager)
                    .name("org.freedesktop.resolve1")
                    .build()
                    .await;
                let (bus, error) = match built {
                    Ok(bus) => (Some(bus), None),
                    Err(error) => (None, Some(error.to_string())),
                };
                drop(ready.send(error));
                drop(ended.await);
                drop(bus);
                Ok(())
            })
        });
        if let Some(error) = is_ready.recv()? {
            bail!("the stand-in for systemd-resolved: {error}");
        }
        Ok(Resolved {
            links,
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Resolved {
    /// A link's settings, as `10.10.0.1 ~mesh.internal`.
    pub(crate) fn link(&self, index: i32) -> String {
        let found = state(&self.links, index);
        let servers = found.servers.iter().map(|(_, bytes)| {
            let parts: Vec<String> = bytes.iter().map(ToString::to_string).collect();
            parts.join(".")
        });
        let domains = found.domains.iter().map(|(name, routes)| match routes {
            true => format!("~{name}"),
            false => name.clone(),
        });
        let default = found.default_route.then(|| "default".to_owned());
        Vec::from_iter(servers.chain(domains).chain(default)).join(" ")
    }

    /// Another program sets them.
    pub(crate) fn set(&self, index: i32, state: LinkState) {
        change(&self.links, index, |link| *link = state);
    }
}

impl Drop for Resolved {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end.send(()).unwrap_or_default();
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
