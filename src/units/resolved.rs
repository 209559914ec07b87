//! systemd-resolved on D-Bus, as org.freedesktop.resolve1(5) has it: a link's own name
//! servers, for names of its domains alone.

use std::time::Duration;

use tokio::time::timeout;
use zbus::{Connection, fdo::DBusProxy, names::BusName, wire::OwnedObjectPath};

use super::{Systemd, UnitsError, proxy::UnitProxy, systemd::answer};
use crate::model::{LinkDns, Zone, address_bytes, address_of};

/// Its unit.
pub const RESOLVED: &str = "systemd-resolved.service";

/// Its name on the bus.
const NAME: &str = "org.freedesktop.resolve1";

/// Longest wait for a name: it asks each server several times.
const RESOLVE: Duration = Duration::from_secs(6);

/// What a zone's existence is asked by: SOA (RFC 1035, section 3.2.2) of the Internet.
const SOA: (u16, u16) = (1, 6);

/// Records as it answers: link, class, type and the record itself.
type Records = Vec<(i32, u16, u16, Vec<u8>)>;

#[zbus::proxy(
    interface = "org.freedesktop.resolve1.Manager",
    default_service = "org.freedesktop.resolve1",
    default_path = "/org/freedesktop/resolve1"
)]
trait ResolveManager {
    /// The object of a link, by its index.
    fn get_link(&self, index: i32) -> zbus::Result<OwnedObjectPath>;

    /// Sets a link's servers: family and address.
    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, index: i32, servers: &[(i32, Vec<u8>)]) -> zbus::Result<()>;

    /// Sets a link's domains, and whether each is for routing alone.
    fn set_link_domains(&self, index: i32, domains: &[(String, bool)]) -> zbus::Result<()>;

    /// Whether names of no domain go to a link.
    fn set_link_default_route(&self, index: i32, enable: bool) -> zbus::Result<()>;

    /// Takes all of a link's own settings back.
    fn revert_link(&self, index: i32) -> zbus::Result<()>;

    /// Asks for records; link 0 lets it choose by its domains.
    fn resolve_record(
        &self,
        index: i32,
        name: &str,
        class: u16,
        kind: u16,
        flags: u64,
    ) -> zbus::Result<(Records, u64)>;
}

#[zbus::proxy(
    interface = "org.freedesktop.resolve1.Link",
    default_service = "org.freedesktop.resolve1"
)]
trait ResolveLink {
    /// Its servers.
    #[zbus(property(emits_changed_signal = "false"), name = "DNS")]
    fn dns(&self) -> zbus::Result<Vec<(i32, Vec<u8>)>>;

    /// Its domains.
    #[zbus(property(emits_changed_signal = "false"))]
    fn domains(&self) -> zbus::Result<Vec<(String, bool)>>;

    /// Whether names of no domain go to it.
    #[zbus(property(emits_changed_signal = "false"))]
    fn default_route(&self) -> zbus::Result<bool>;
}

/// What sets the name servers of links.
pub(crate) trait ZoneServers {
    /// A link's own settings.
    ///
    /// # Errors
    /// See [`UnitsError`].
    async fn link(&self, index: u32) -> Result<LinkDns, UnitsError>;

    /// Sets them.
    ///
    /// # Errors
    /// See [`UnitsError`].
    async fn set(&self, index: u32, to: &LinkDns) -> Result<(), UnitsError>;

    /// Takes all of them away.
    ///
    /// # Errors
    /// See [`UnitsError`].
    async fn revert(&self, index: u32) -> Result<(), UnitsError>;

    /// Asks for a zone as programs do. That it does not exist is an answer, too.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn resolve(&self, zone: &Zone) -> Result<(), String>;
}

/// A client of systemd-resolved.
#[derive(Debug)]
pub struct Resolved {
    bus: Connection,
    manager: ResolveManagerProxy<'static>,
}

impl Resolved {
    /// Finds it on the system bus, and starts nothing.
    ///
    /// # Errors
    /// [`UnitsError::Unreachable`].
    pub async fn connect() -> Result<Self, UnitsError> {
        Self::over(answer(Connection::system()).await?).await
    }

    /// The one behind a connection.
    pub(super) async fn over(bus: Connection) -> Result<Self, UnitsError> {
        let owned = async {
            let name = BusName::try_from(NAME)?;
            Ok(DBusProxy::new(&bus).await?.name_has_owner(name).await?)
        };
        if !answer(owned).await? {
            let text = format!("{NAME} is not on the bus");
            return Err(UnitsError::Unreachable(text));
        }
        let manager = answer(ResolveManagerProxy::new(&bus)).await?;
        Ok(Self { bus, manager })
    }
}

/// The kernel's indices are positive numbers of 31 bits.
fn number(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(-1)
}

impl ZoneServers for Resolved {
    async fn link(&self, index: u32) -> Result<LinkDns, UnitsError> {
        let path = answer(self.manager.get_link(number(index))).await?;
        let link = answer(ResolveLinkProxy::builder(&self.bus).path(path).build()).await?;
        let servers = answer(link.dns()).await?.into_iter();
        Ok(LinkDns {
            servers: servers
                .filter_map(|(family, bytes)| address_of(family, &bytes))
                .collect(),
            domains: answer(link.domains()).await?,
            default_route: answer(link.default_route()).await?,
        })
    }

    async fn set(&self, index: u32, to: &LinkDns) -> Result<(), UnitsError> {
        let index = number(index);
        let servers = to.servers.iter().copied().map(address_bytes);
        let servers: Vec<(i32, Vec<u8>)> = servers.collect();
        // Servers last: without them the link is asked for nothing.
        answer(self.manager.set_link_default_route(index, to.default_route)).await?;
        answer(self.manager.set_link_domains(index, &to.domains)).await?;
        answer(self.manager.set_link_dns(index, &servers)).await
    }

    async fn revert(&self, index: u32) -> Result<(), UnitsError> {
        answer(self.manager.revert_link(number(index))).await
    }

    async fn resolve(&self, zone: &Zone) -> Result<(), String> {
        /// systemd: src/libsystemd/sd-bus/bus-common-errors.h.
        const NONE: [&str; 2] = [
            "org.freedesktop.resolve1.NoSuchRR",
            "org.freedesktop.resolve1.DnsError.NXDOMAIN",
        ];
        let (class, kind) = SOA;
        let name = zone.as_str();
        let asked = self.manager.resolve_record(0, name, class, kind, 0);
        match timeout(RESOLVE, asked).await {
            Err(_) => Err(format!("no answer within {} s", RESOLVE.as_secs())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(zbus::Error::MethodError(error, ..))) if NONE.contains(&error.as_str()) => {
                Ok(())
            }
            Ok(Err(error)) => Err(UnitsError::from(error).to_string()),
        }
    }
}

impl Systemd {
    /// Starts systemd-resolved where it is enabled and has failed; says whether it did.
    /// One that was stopped or disabled is its owner's choice.
    ///
    /// # Errors
    /// systemd cannot be reached or refuses, or it does not start.
    pub async fn revive_resolved(&self) -> Result<bool, UnitsError> {
        let enabled = answer(self.manager.get_unit_file_state(RESOLVED)).await?;
        if !enabled.starts_with("enabled") {
            return Ok(false);
        }
        let path = answer(self.manager.load_unit(RESOLVED)).await?;
        let unit = answer(UnitProxy::builder(self.bus()).path(path).build()).await?;
        if answer(unit.active_state()).await? != "failed" {
            return Ok(false);
        }
        // Else the limit of starts may keep it down.
        answer(self.manager.reset_failed_unit(RESOLVED)).await?;
        let job = self.manager.start_unit(RESOLVED, "fail");
        let result = self.wait_for_job(job, RESOLVED, self.job_timeout).await?;
        match result.as_deref() {
            Some("done") => Ok(true),
            other => {
                let how = other.unwrap_or("no result in time");
                Err(UnitsError::Refused(format!(
                    "the start of {RESOLVED} ended as {how}"
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests;
