//! The one elevation: what is asked of Windows' administrator, how it is asked,
//! and the answer.
//!
//! [`policy`] makes the policy from the settings, [`staging`] puts the files
//! where Windows reads them, [`contract`] is what `host.ps1` is asked and answers.
//! Nothing here prints or asks a person: that is the command line's.

pub mod contract;
mod difference;
mod distribution;
mod forbidden;
mod grants;
pub mod policy;
mod range;
pub mod staging;
mod words;

use std::{path::Path, time::Duration};

pub use self::{
    contract::{Agreed, Answer, Check, CheckResult, Order, State},
    difference::difference,
    distribution::{Distribution, DistributionError},
    grants::{PolicyError, grants},
    policy::{Grant, Policy, Profiles},
    range::port,
    staging::{Shipped, Staging, StagingError},
    words::{Ending, ending},
};
use super::json::{AnswerError, line};
use crate::interop::{self, DEADLINE, Interop, InteropError, child::ChildError};

/// How long a person has to answer Windows' prompt: Windows itself gives up on
/// it after two minutes.
const PERSON: Duration = Duration::from_secs(150);

/// How long the checks may take: some ask slow parts of Windows.
const CHECKS: Duration = Duration::from_secs(60);

/// Why `host.ps1` gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is no Windows.
    #[error("this is no WSL distribution: there is no Windows side to reach")]
    NotWsl,
    /// Windows is out of reach.
    #[error("{}. {}", .0, .0.code().remediation())]
    Interop(#[from] InteropError),
    /// The files cannot be handed over.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// It answered something else.
    #[error("{}. {}", .0, .0.code().remediation())]
    Answer(#[from] AnswerError),
    /// The distribution has no usable name.
    #[error(transparent)]
    Distribution(#[from] DistributionError),
    /// A policy about scripts keeps `host.ps1` from running.
    #[error(
        "a policy of this Windows machine keeps the script from running ({0}): nothing was changed. The machine's administrator can allow it for this user."
    )]
    Forbidden(String),
    /// No request could be made.
    #[error("the request cannot be written: {0}")]
    Request(#[from] serde_json::Error),
}

/// The way to `host.ps1`.
#[derive(Debug)]
pub struct Setup {
    interop: Interop,
    /// Where `host.ps1` is, and takes files from.
    pub staging: Staging,
}

impl Setup {
    /// Finds the way to Windows.
    ///
    /// # Errors
    /// Windows is out of reach.
    pub fn find(staging: Staging) -> Result<Self, SetupError> {
        if !interop::is_wsl() {
            return Err(SetupError::NotWsl);
        }
        Ok(Self {
            interop: Interop::find()?,
            staging,
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
            Order::Check { .. } => CHECKS,
            Order::Look => DEADLINE,
        };
        let script = self.staging.host_script()?;
        let request = line(&order)?;
        let path = self.interop.windows_path(&script).await?;
        let call = self
            .interop
            .powershell(&path, request.as_bytes(), deadline)
            .await;
        let error = match call.map(|output| Answer::parse(&output)) {
            Ok(Err(error @ AnswerError::NotRun(_))) => error.into(),
            Err(error @ InteropError::Call(ChildError::Exit { .. })) => error.into(),
            answer => return Ok(answer??),
        };
        // PowerShell's own words about a policy are localised, so it is asked.
        let policies = self
            .interop
            .powershell_command(super::scripts::POLICIES.trim_end())
            .await
            .ok();
        let policy = policies.and_then(|output| forbidden::find(&output));
        Err(policy.map_or(error, SetupError::Forbidden))
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
