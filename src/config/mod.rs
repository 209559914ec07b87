//! The configuration: files are read key by key into [`Settings`], which are valid
//! from here on.

mod clock;
mod connect_address;
mod dependents;
mod discovery;
mod dns;
mod drop_in;
mod export;
mod import;
mod listen_address;
mod load;
mod reader;
mod settings;
mod source;
mod textfile;
mod tunnel;
mod values;
mod verify;

pub use self::{
    clock::{Clock, StepAbove},
    connect_address::loopback_address,
    discovery::{Discovery, PortSet},
    dns::{Dns, Zones},
    drop_in::{Added, DropIn, DropInError, add_wireguard},
    export::{Export, ExportError},
    import::{Import, ImportError, Wanted},
    listen_address::parse_listen_address,
    load::{ConfigError, Located, located},
    reader::nearest,
    settings::Settings,
    source::Source,
    textfile::Textfile,
    tunnel::TunnelWhen,
    values::{Backend, Forward, Interface, Remarks, Settle, Underlay, connect_ports, is_name},
    verify::Verify,
};
pub use crate::model::{Firewall, Protocol, ProxyProtocol};

/// Settings as a source would give them, for tests of other modules.
#[cfg(test)]
pub(crate) fn settings(text: &str) -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wslmesh.toml");
    std::fs::write(&path, text).unwrap();
    Settings::load(&Source::File(path)).unwrap_or_else(|error| panic!("{error}"))
}

#[cfg(test)]
mod tests;
