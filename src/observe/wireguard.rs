//! WireGuard devices.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use super::units;
use crate::{
    config::Settings,
    model::{DeviceReading, InterfaceName, Link},
    wireguard,
};

/// Longest wait for a device. A hanging userspace daemon must not hold up the
/// pass that tells everybody else the new address.
const DEADLINE: Duration = Duration::from_secs(1);

/// Reads devices off the loop and remembers which reads hang: a blocking call
/// cannot be taken back, so a device is not asked again while one is out.
#[derive(Debug, Clone, Default)]
pub struct Devices {
    out: Arc<Mutex<BTreeSet<InterfaceName>>>,
}

impl Devices {
    pub(super) async fn read(
        &self,
        settings: &Settings,
        links: &[Link],
    ) -> BTreeMap<InterfaceName, DeviceReading> {
        let mut readings = BTreeMap::new();
        for link in links.iter().filter(|link| {
            link.kind.is_wireguard() && settings.wireguard_interfaces.matches(&link.name)
        }) {
            let reading = match units::wg_quick_at_work(&link.name).await {
                Some(who) => DeviceReading::Busy(who),
                None => self.one(link).await,
            };
            readings.insert(link.name.clone(), reading);
        }
        readings
    }

    async fn one(&self, link: &Link) -> DeviceReading {
        let name = link.name.clone();
        if !self
            .out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.clone())
        {
            return DeviceReading::Unreadable(format!(
                "{name} has not answered an earlier question"
            ));
        }
        let (out, kind) = (Arc::clone(&self.out), link.kind);
        let call = spawn_blocking(move || {
            let answer = wireguard::read(&name, kind);
            out.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&name);
            answer
        });
        match timeout(DEADLINE, call).await {
            Ok(Ok(Ok(device))) => DeviceReading::Device(device),
            Ok(Ok(Err(error))) => DeviceReading::Unreadable(error.to_string()),
            Ok(Err(_)) | Err(_) => DeviceReading::Unreadable(format!(
                "{} did not answer within {} s",
                link.name,
                DEADLINE.as_secs()
            )),
        }
    }
}
