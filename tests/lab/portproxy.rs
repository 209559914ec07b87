//! A real TCP port proxy in the windows namespace, as iphlpsvc is one on
//! Windows: it listens where the rules say, and a changed rule concerns new
//! connections only.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddrV4};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::contract::Rule;
use crate::topology::Place;

/// Where to listen, and where to connect to.
type Table = BTreeMap<SocketAddrV4, SocketAddrV4>;
type Shared = Rc<RefCell<Table>>;

// Windows tries for 21 s; the lab's addresses answer at once or never.
const CONNECT: Duration = Duration::from_secs(3);

enum Change {
    Apply(Table, mpsc::Sender<Vec<SocketAddrV4>>),
    Probe(SocketAddrV4, mpsc::Sender<bool>),
}

/// A handle on the proxy's thread.
#[derive(Debug)]
pub(crate) struct PortProxy {
    changes: UnboundedSender<Change>,
}

impl PortProxy {
    /// Starts the proxy with no rules.
    pub(crate) fn start() -> Result<Self> {
        let (changes, receiver) = unbounded_channel();
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = Place::Windows.enter().and_then(|()| {
                Ok(tokio::runtime::Builder::new_current_thread()
                    .enable_io()
                    .enable_time()
                    .build()?)
            });
            match runtime {
                Ok(runtime) => {
                    drop(said.send(Ok(())));
                    LocalSet::new().block_on(&runtime, follow(receiver));
                }
                Err(error) => drop(said.send(Err(error))),
            }
        });
        heard.recv().context("the port proxy's thread ended")??;
        Ok(Self { changes })
    }

    /// Makes the rules' listeners the only ones. Returns where it now listens;
    /// as on Windows a rule whose address does not exist has no effect.
    pub(crate) fn apply(&self, rules: &[Rule]) -> Result<Vec<SocketAddrV4>> {
        let (done, answer) = mpsc::channel();
        let table = rules.iter().filter_map(addresses).collect();
        self.changes
            .send(Change::Apply(table, done))
            .ok()
            .context("the port proxy has ended")?;
        answer.recv().context("the port proxy has ended")
    }

    /// Whether one could listen there now; an address that does not exist is
    /// no one's.
    pub(crate) fn probe(&self, at: SocketAddrV4) -> bool {
        let (done, answer) = mpsc::channel();
        let asked = self.changes.send(Change::Probe(at, done));
        asked.is_ok() && answer.recv().is_ok_and(|free| free)
    }
}

/// A rule that leads to a host name or nowhere is without effect here.
fn addresses(rule: &Rule) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let target = rule.connect_address.as_ref()?.parse().ok()?;
    let target = SocketAddrV4::new(target, rule.connect_port?);
    let IpAddr::V4(listen) = rule.listen_address else {
        return None;
    };
    Some((SocketAddrV4::new(listen, rule.listen_port), target))
}

async fn follow(mut changes: UnboundedReceiver<Change>) {
    let table = Shared::default();
    let mut listeners: HashMap<SocketAddrV4, JoinHandle<()>> = HashMap::new();
    while let Some(change) = changes.recv().await {
        let (wanted, done) = match change {
            Change::Apply(wanted, done) => (wanted, done),
            Change::Probe(at, done) => {
                let tried = TcpListener::bind(at).await;
                let in_use = |e: std::io::Error| e.kind() == std::io::ErrorKind::AddrInUse;
                // Who asked waits for the answer.
                done.send(!tried.is_err_and(in_use)).unwrap_or_default();
                continue;
            }
        };
        *table.borrow_mut() = wanted;
        let gone: Vec<_> = listeners
            .keys()
            .filter(|at| !table.borrow().contains_key(at))
            .copied()
            .collect();
        for at in gone {
            if let Some(listener) = listeners.remove(&at) {
                listener.abort();
                // Waits until the socket is closed; "cancelled" is the expected result.
                drop(listener.await);
            }
        }
        let wanted: Vec<_> = table.borrow().keys().copied().collect();
        for at in wanted {
            if !listeners.contains_key(&at)
                && let Ok(listener) = TcpListener::bind(at).await
            {
                listeners.insert(at, spawn_local(accept(listener, at, Rc::clone(&table))));
            }
        }
        let mut now: Vec<_> = listeners.keys().copied().collect();
        now.sort_unstable();
        drop(done.send(now));
    }
}

async fn accept(listener: TcpListener, at: SocketAddrV4, table: Shared) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors, most likely; they come back as connections end.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let target = table.borrow().get(&at).copied();
        if let Some(target) = target {
            spawn_local(connect(client, target));
        }
    }
}

async fn connect(mut client: TcpStream, target: SocketAddrV4) {
    let Ok(Ok(mut guest)) = tokio::time::timeout(CONNECT, TcpStream::connect(target)).await else {
        return;
    };
    // Either side may end its half first; an error on one ends both.
    drop(tokio::io::copy_bidirectional(&mut client, &mut guest).await);
}
