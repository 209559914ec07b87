//! PersistentKeepalive for peers that have none. A peer's own value, whatever
//! it is, is its owner's decision and stays.

use crate::{
    config::Settings,
    model::{Action, Code, DeviceReading, KeepaliveChange, Link, Observation, Plan},
};

pub(super) fn plan(settings: &Settings, seen: &Observation, plan: &mut Plan) {
    for (name, reading) in &seen.wireguard {
        let mut links = seen.links.iter();
        let is_ours = |link: &&Link| {
            link.name == *name
                && link.kind.is_wireguard()
                && settings.wireguard_interfaces.covers(link)
        };
        let Some(link) = links.find(is_ours) else {
            continue;
        };
        match reading {
            DeviceReading::Device(device) => {
                let peers: Vec<_> = device.without_keepalive().collect();
                if let Some(keepalive) = settings.keepalive
                    && !peers.is_empty()
                {
                    plan.actions.push(Action::SetKeepalive(KeepaliveChange {
                        index: link.index,
                        name: name.clone(),
                        kind: link.kind,
                        peers,
                        seconds: keepalive.get(),
                    }));
                }
            }
            DeviceReading::Busy(by) => {
                plan.find(Code::WireguardBusy, name.as_str(), by.as_str());
            }
            DeviceReading::Unreadable(why) => {
                plan.find(Code::WireguardUnreadable, name.as_str(), why.as_str());
            }
        }
    }
}

#[cfg(test)]
mod tests;
