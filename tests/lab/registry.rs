//! What Windows remembers: the portproxy rules, the ledger of those that are
//! ours, and the sync that the shipped script performs on them.
//!
//! Written a second time, apart from the script, so that the two can be held
//! against each other. Rules with `*` in the place of the listen address are
//! left out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// The one version of the contract there is.
pub(crate) const VERSION: u64 = 1;

/// What the agent sends on standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Sync {
    version: u64,
    action: String,
    connect_address: String,
    forwards: Vec<Forward>,
}

/// One wanted forward.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Forward {
    listen_address: String,
    listen_port: u64,
    connect_port: u64,
}

/// One portproxy rule. Another tool's rule may lead to a host name or nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Rule {
    /// Where Windows listens.
    pub(crate) listen_address: Ipv4Addr,
    /// 1 to 65535.
    pub(crate) listen_port: u16,
    /// Where it connects to.
    pub(crate) connect_address: Option<String>,
    /// 1 to 65535.
    pub(crate) connect_port: Option<u16>,
}

impl Rule {
    /// `listen address:port` to `connect address:port`, for tests.
    pub(crate) fn new(listen: (&str, u16), connect: (&str, u16)) -> anyhow::Result<Self> {
        Ok(Self {
            listen_address: listen.0.parse()?,
            listen_port: listen.1,
            connect_address: Some(connect.0.to_owned()),
            connect_port: Some(connect.1),
        })
    }

    fn read((name, target): (&Name, &String)) -> Self {
        let (host, port) = target.split_once('/').unzip();
        let port = port
            .and_then(|port| port.parse().ok())
            .filter(|port| *port != 0);
        Self {
            listen_address: name.0,
            listen_port: name.1,
            connect_address: host.filter(|_| port.is_some()).map(str::to_owned),
            connect_port: port,
        }
    }
}

/// The connected Windows interface with the lowest MTU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LowestMtu {
    /// As Windows names it.
    pub(crate) name: String,
    /// In bytes.
    pub(crate) mtu: u32,
}

/// What the script prints on standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Answer {
    /// [`VERSION`].
    pub(crate) version: u64,
    /// `synced`, `not-elevated`, `service-stopped` or `invalid-request`.
    pub(crate) state: String,
    /// More about the state, in words.
    pub(crate) detail: Option<String>,
    /// Our rules as they stand.
    pub(crate) rules: Vec<Rule>,
    /// Rules made or re-pointed by this call.
    pub(crate) added: usize,
    /// Rules removed by this call.
    pub(crate) removed: usize,
    /// Rules that were right already.
    pub(crate) kept: usize,
    /// Rules of others where we want to listen.
    pub(crate) conflicts: Vec<Rule>,
    /// Windows' own address.
    pub(crate) windows_address: Option<Ipv4Addr>,
    /// See [`LowestMtu`].
    pub(crate) lowest_mtu: Option<LowestMtu>,
}

/// Listen address and port.
pub(crate) type Name = (Ipv4Addr, u16);
/// `connect address/connect port`, as the registry has it.
type Values = BTreeMap<Name, String>;

/// The state of the simulated Windows.
#[derive(Debug)]
pub(crate) struct Registry {
    /// `PortProxy\v4tov4\tcp`.
    pub(crate) rules: Values,
    /// Our ledger.
    pub(crate) ledger: Values,
    /// Whether interop's programs run elevated.
    pub(crate) elevated: bool,
    /// Whether iphlpsvc runs.
    pub(crate) service: bool,
    /// Windows' own address.
    pub(crate) windows_address: Option<Ipv4Addr>,
    /// See [`LowestMtu`].
    pub(crate) lowest_mtu: Option<LowestMtu>,
}

/// Whether two listeners would contend for some connection: the same port, on the
/// same address or with one of them on all.
fn overlap(one: &Name, other: &Name) -> bool {
    one.1 == other.1 && (one.0 == other.0 || one.0.is_unspecified() || other.0.is_unspecified())
}

/// What one sync has to do.
#[derive(Default)]
struct Plan {
    write: Values,
    remove: Vec<Name>,
    kept: usize,
    conflicts: Vec<Rule>,
}

fn sorted<'a>(values: impl Iterator<Item = (&'a Name, &'a String)>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = values.map(Rule::read).collect();
    rules.sort_by_key(|rule| (rule.listen_port, rule.listen_address));
    rules
}

impl Registry {
    /// All rules, ours and others', by port.
    pub(crate) fn table(&self) -> Vec<Rule> {
        sorted(self.rules.iter())
    }

    /// The ledger in the form of rules.
    pub(crate) fn ledger(&self) -> Vec<Rule> {
        sorted(self.ledger.iter())
    }

    fn owns(&self, name: &Name) -> bool {
        self.rules
            .get(name)
            .is_some_and(|target| self.ledger.get(name) == Some(target))
    }

    fn plan(&self, wanted: &Values) -> Plan {
        let mut plan = Plan::default();
        plan.remove.extend(
            self.ledger
                .keys()
                .filter(|name| self.owns(name) && !wanted.contains_key(name)),
        );
        let mut foreign = self.rules.clone();
        foreign.retain(|name, _| !self.owns(name));
        for (name, target) in wanted {
            // A rule of ours that stands stays, whatever overlaps it by now.
            if self.rules.get(name) == Some(target) && self.owns(name) {
                plan.kept += 1;
            } else if self.owns(name) || !foreign.keys().any(|other| overlap(name, other)) {
                plan.write.insert(*name, target.clone());
            }
        }
        foreign.retain(|other, _| wanted.keys().any(|name| overlap(name, other)));
        plan.conflicts = sorted(foreign.iter());
        plan
    }

    fn answer(&self, state: &str, detail: Option<String>, plan: Plan) -> Answer {
        Answer {
            version: VERSION,
            state: state.to_owned(),
            detail,
            rules: sorted(self.rules.iter().filter(|(name, _)| self.owns(name))),
            added: 0,
            removed: 0,
            kept: plan.kept,
            conflicts: plan.conflicts,
            windows_address: self.windows_address,
            lowest_mtu: self.lowest_mtu.clone(),
        }
    }

    /// Does what one call of the script does.
    pub(crate) fn sync(&mut self, request: &Sync) -> Answer {
        let wanted = match check(request) {
            Ok(wanted) => wanted,
            Err(detail) => {
                let empty = self.answer("invalid-request", Some(detail), Plan::default());
                return Answer {
                    rules: Vec::new(),
                    windows_address: None,
                    lowest_mtu: None,
                    ..empty
                };
            }
        };
        let plan = self.plan(&wanted);
        let changes = plan.write.len() + plan.remove.len();
        if !self.service && (changes > 0 || !wanted.is_empty()) {
            return self.answer("service-stopped", None, plan);
        }
        if !self.elevated {
            return if changes == 0 {
                // What is wanted stands, so there is nothing to be elevated for.
                self.answer("synced", None, plan)
            } else {
                self.answer(
                    "not-elevated",
                    Some(format!("{changes} rules would have to change")),
                    plan,
                )
            };
        }
        let stale: Vec<Name> = self
            .ledger
            .keys()
            .copied()
            .filter(|name| !self.owns(name))
            .collect();
        for name in plan.remove.iter().chain(&stale) {
            self.ledger.remove(name);
        }
        for name in &plan.remove {
            self.rules.remove(name);
        }
        self.ledger.extend(plan.write.clone());
        self.rules.extend(plan.write.clone());
        let (added, removed) = (plan.write.len(), plan.remove.len());
        Answer {
            added,
            removed,
            ..self.answer("synced", None, plan)
        }
    }
}

fn check(request: &Sync) -> Result<Values, String> {
    if request.version != VERSION {
        return Err("version: only 1 is known".to_owned());
    }
    if request.action != "sync" {
        return Err("action: must be \"sync\"".to_owned());
    }
    let address = |text: &str, field: &str| match text.parse::<Ipv4Addr>() {
        Ok(address) if address.octets() < [224, 0, 0, 0] => Ok(address),
        Ok(_) | Err(_) => Err(format!("{field}: {text:?} is no address of a machine")),
    };
    let port = |number: u64, field: &str| match u16::try_from(number) {
        Ok(port) if port != 0 => Ok(port),
        Ok(_) | Err(_) => Err(format!("{field}: must be from 1 to 65535")),
    };
    let guest = address(&request.connect_address, "connect-address")?;
    if guest.is_loopback() || guest.octets() < [1, 0, 0, 0] {
        return Err("connect-address: must be another machine's".to_owned());
    }
    let mut wanted = Values::new();
    for forward in &request.forwards {
        let name = (
            address(&forward.listen_address, "listen-address")?,
            port(forward.listen_port, "listen-port")?,
        );
        let target = format!("{guest}/{}", port(forward.connect_port, "connect-port")?);
        if wanted.insert(name, target).is_some() {
            return Err(format!("{}/{} is asked for twice", name.0, name.1));
        }
    }
    Ok(wanted)
}
