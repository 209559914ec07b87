//! The one elevation: what is asked of Windows' administrator, how it is asked,
//! and the answer.
//!
//! [`scratch`] tries the way to the port proxy and back, [`policy`] makes the policy from the settings, [`files`] has what Windows is
//! handed, [`contract`] is what `host.ps1` is asked and answers.
//! Nothing here prints or asks a person: that is the command line's.

mod checks;
pub mod contract;
mod difference;
mod distribution;
pub mod files;
mod grants;
pub mod policy;
pub mod scratch;
mod words;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    checks::{CHECKS, place},
    contract::{Agreed, Answer, Check, CheckResult, Order, State},
    difference::difference,
    distribution::{Distribution, DistributionError},
    files::{FilesError, Shipped},
    grants::{PolicyError, grants, grants_of_all},
    policy::{Grant, Policy, Profiles},
    words::{Ending, ending},
};
use super::{
    call::{CallError, call},
    scripts::Script,
};
use crate::interop::{self, DEADLINE, Interop, InteropError};

/// How long a person has to answer Windows' prompt, which Windows itself gives up
/// on after two minutes, and the elevated setup to do its work: `host.ps1` waits 140 s
/// and, once it was agreed to, 90 s more. The rest is PowerShell's start.
const PERSON: Duration = Duration::from_secs(245);

/// How long the checks may take: some ask slow parts of Windows.
const CHECKS_LIMIT: Duration = Duration::from_secs(60);

/// Why `host.ps1` gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is no Windows.
    #[error("this is no WSL distribution: there is no Windows side to reach")]
    NotWsl,
    /// Windows is out of reach.
    #[error("{}. {}", .0, .0.code().remediation())]
    Interop(#[from] InteropError),
    /// There is no answer.
    #[error("{}. {}", .0, .0.code().remediation())]
    Call(#[from] CallError),
    /// The distribution has no usable name.
    #[error(transparent)]
    Distribution(#[from] DistributionError),
}

/// The way to `host.ps1`.
#[derive(Debug)]
pub struct Setup {
    interop: Interop,
    /// Where Windows may find the script.
    state: PathBuf,
}

impl Setup {
    /// Finds the way to Windows.
    ///
    /// # Errors
    /// Windows is out of reach.
    pub fn find(state: &Path) -> Result<Self, SetupError> {
        if !interop::is_wsl() {
            return Err(SetupError::NotWsl);
        }
        Ok(Self {
            interop: Interop::find()?,
            state: state.to_owned(),
        })
    }

    /// The way, as text.
    #[must_use]
    pub fn way(&self) -> String {
        self.interop.to_string()
    }

    /// What Windows calls this distribution.
    ///
    /// # Errors
    /// wslpath does not say, or says something that is no name.
    pub async fn distribution(&self) -> Result<Distribution, SetupError> {
        let root = self.interop.windows_path(Path::new("/")).await?;
        Ok(Distribution::from_root(&root)?)
    }

    /// Calls `host.ps1`. Installing and removing wait for a person.
    ///
    /// # Errors
    /// No answer, or none of this version.
    pub async fn call(&self, order: Order<'_>) -> Result<Answer, SetupError> {
        let deadline = match order {
            Order::Install { .. } | Order::Uninstall { .. } => PERSON,
            Order::Check { .. } => CHECKS_LIMIT,
            Order::Look => DEADLINE,
        };
        let input = order.input().map_err(CallError::from)?;
        let script = Script::Host;
        Ok(call(&self.interop, script, &input, &self.state, deadline).await?)
    }
}

/// Whether Windows has this package's version and this policy. Whether the files
/// and the tasks are still there `host.ps1` reports.
#[must_use]
pub fn is_agreed(answer: &Answer, policy: &Policy) -> bool {
    let agreed = matches!(&answer.policy, Agreed::Policy(old) if **old == *policy);
    let installed = answer.installed.as_ref();
    agreed && installed.is_some_and(|found| found.version == policy.package)
}
