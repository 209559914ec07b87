//! A link's MTU.

use super::ApplyError;
use crate::{
    model::{Code, InterfaceName},
    netlink::{Netlink, mtu_of},
};

/// Sets a link's MTU by index, so that a new link of the same name is not meant.
/// A link that was removed needs no MTU. Returns whether anything was changed.
///
/// # Errors
/// The kernel's refusal, or another MTU when it is read back.
pub async fn set(
    netlink: &Netlink,
    index: u32,
    name: &InterfaceName,
    to: u32,
) -> Result<bool, ApplyError> {
    let failed = |error| ApplyError::link(format!("{name}: MTU {to}"), &error, Code::MtuRefused);
    let read = async || -> Result<_, ApplyError> {
        let link = netlink.link(index).await.map_err(failed)?;
        Ok(link.as_ref().and_then(mtu_of))
    };
    if read().await?.is_none_or(|before| before == to) {
        return Ok(false);
    }
    match netlink.set_mtu(index, to).await {
        Err(error) if error.is_no_device() => return Ok(false),
        done => done.map_err(failed)?,
    }
    match read().await? {
        Some(found) if found != to => Err(ApplyError::Failed {
            what: format!("{name}: MTU"),
            why: format!("wrote \"{to}\" and read back \"{found}\""),
            // The link may take the next one.
            retry: true,
            code: Code::MtuRefused,
        }),
        found => Ok(found.is_some()),
    }
}
