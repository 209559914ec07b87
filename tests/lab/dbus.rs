//! A real D-Bus daemon inside a world, and programs that talk with the agent
//! through it.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};
use zbus::connection::Builder;
use zbus::message::Type as Kind;
use zbus::wire::{DynamicType, Type};
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedVariant};

use crate::agent::LIMIT;
use crate::process::Process;
use crate::world::{World, until};

/// The agent's name and interface.
pub(crate) const NAME: &str = "org.wslmesh.Agent1";
/// Its object.
pub(crate) const OBJECT: &str = "/org/wslmesh/Agent1";
/// Standard interfaces.
pub(crate) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
pub(crate) const BUS: &str = "org.freedesktop.DBus";

const SOCKET: &str = "/run/dbus/system_bus_socket";
const CONFIG: &str = "/run/dbus/system.conf";
/// As distributions have it, with the package's policy in it.
const POLICY: &str = r#"<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.resolve1"/>
    <allow own="org.freedesktop.systemd1"/>
    <allow send_destination="org.freedesktop.systemd1"/>
    <allow send_destination="org.freedesktop.resolve1"/>
  </policy>
  <include>/run/dbus/org.wslmesh.Agent1.conf</include>
</busconfig>
"#;

impl World {
    /// Starts a system bus at the usual place, or starts it again.
    pub(crate) fn start_bus(&self) -> Result<Process<'_>> {
        let policy = include_str!("../../dbus/org.wslmesh.Agent1.conf");
        self.write(CONFIG, POLICY)?;
        self.write("/run/dbus/org.wslmesh.Agent1.conf", policy)?;
        // One that was killed leaves it, and it would be taken for this one's.
        if self.path(SOCKET).exists() {
            std::fs::remove_file(self.path(SOCKET))?;
        }
        let config = format!("--config-file={CONFIG}");
        let daemon = self.spawn_guest(&["dbus-daemon", &config, "--nofork", "--nopidfile"], &[])?;
        until("the system bus", LIMIT, || {
            if let Some(status) = daemon.wait(Duration::ZERO)? {
                bail!("dbus-daemon ended: {status:?} {}", daemon.stderr()?);
            }
            // It makes its socket a moment before it listens on it.
            Ok(UnixStream::connect(self.path(SOCKET)).ok())
        })?;
        Ok(daemon)
    }

    /// The system bus as the test reaches it.
    pub(crate) fn bus_address(&self) -> String {
        format!("unix:path={}", self.path(SOCKET).display())
    }

    /// Connects to the system bus as the world's root.
    pub(crate) async fn bus(&self) -> Result<Connection> {
        let address = self.bus_address();
        let builder = Builder::address(address.as_str()).user_id(0);
        timeout(LIMIT, builder.build())
            .await?
            .context("connecting to the world's bus")
    }

    /// Connects, and waits until the agent has its name.
    pub(crate) async fn agent_on_the_bus(&self) -> Result<Connection> {
        let bus = self.bus().await?;
        wait("the agent on the bus", async || Ok(owner(&bus).await?)).await?;
        Ok(bus)
    }
}

/// Runs what talks with a bus to its end.
pub(crate) fn talk<T>(with: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(with)
}

/// Who has the agent's name.
pub(crate) async fn owner(bus: &Connection) -> Result<Option<String>> {
    let answer = bus
        .call_method(Some(BUS), "/", Some(BUS), "GetNameOwner", &NAME)
        .await;
    match answer {
        Ok(answer) => Ok(Some(answer.body().deserialize()?)),
        Err(zbus::Error::FDO(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits until something is found.
pub(crate) async fn wait<T>(what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("{what} did not come within {LIMIT:?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Calls one of the agent's methods; the error is `NAME: text`.
pub(crate) async fn call<A, T>(bus: &Connection, method: &str, arguments: &A) -> Result<T>
where
    A: Serialize + DynamicType,
    T: DeserializeOwned + Type,
{
    let answer = raw(bus, NAME, method, arguments).await?;
    Ok(answer.body().deserialize()?)
}

async fn raw<A>(bus: &Connection, interface: &str, method: &str, arguments: &A) -> Result<Message>
where
    A: Serialize + DynamicType,
{
    let answer = bus.call_method(Some(NAME), OBJECT, Some(interface), method, arguments);
    Ok(timeout(LIMIT, answer).await.context(method.to_owned())??)
}

/// Calls and takes whatever answer comes; the error is that none does.
pub(crate) async fn answered<A>(
    bus: &Connection,
    interface: &str,
    method: &str,
    arguments: &A,
) -> Result<()>
where
    A: Serialize + DynamicType,
{
    let answer = bus.call_method(Some(NAME), OBJECT, Some(interface), method, arguments);
    match timeout(LIMIT, answer).await.context(method.to_owned())? {
        Ok(_) | Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_)) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// The error of a method that must not succeed, as `NAME: text`.
pub(crate) async fn refused<A>(bus: &Connection, method: &str, arguments: &A) -> Result<String>
where
    A: Serialize + DynamicType,
{
    let answer = bus.call_method(Some(NAME), OBJECT, Some(NAME), method, arguments);
    match timeout(LIMIT, answer).await.context(method.to_owned())? {
        Ok(answer) => bail!("{method} succeeded: {answer:?}"),
        Err(zbus::Error::MethodError(name, text, _)) => {
            Ok(format!("{name}: {}", text.unwrap_or_default()))
        }
        Err(zbus::Error::FDO(error)) => Ok(error.to_string()),
        Err(other) => Err(other.into()),
    }
}

/// One property.
pub(crate) async fn get<T>(bus: &Connection, property: &str) -> Result<T>
where
    T: TryFrom<OwnedVariant>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let answer = raw(bus, PROPERTIES, "Get", &(NAME, property)).await?;
    let value: OwnedVariant = answer.body().deserialize()?;
    T::try_from(value).with_context(|| property.to_owned())
}

/// Everything that the agent says from now on.
pub(crate) async fn listen(bus: &Connection) -> Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Kind::Signal)
        .sender(NAME)
        .path(OBJECT)
        .build()?;
    Ok(MessageStream::for_match_rule(rule, bus, Some(1024.try_into()?)).await?)
}

/// The signals up to one that is wanted, each with its name and body as text.
pub(crate) async fn heard(
    stream: &mut MessageStream,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Vec<(String, String)>> {
    let end = Instant::now() + LIMIT;
    let mut heard = Vec::new();
    loop {
        let Ok(message) = timeout_at(end, stream.next()).await else {
            bail!("no such signal among {heard:#?}");
        };
        let message = message.context("lost the bus")??;
        let name = message.header().member().map(ToString::to_string);
        let body = message.body();
        let body: zbus::wire::Structure<'_> = body.deserialize()?;
        let (name, body) = (name.unwrap_or_default(), format!("{body}"));
        let found = wanted(&name, &body);
        heard.push((name, body));
        if found {
            return Ok(heard);
        }
    }
}
