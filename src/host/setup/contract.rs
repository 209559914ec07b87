//! What the agent and `host.ps1` say to each other: one JSON request on standard
//! input, one JSON answer on standard output.
//!
//! As with `refresh.ps1`, what comes back is another system's text, and is made
//! plain and short here.

use serde::{Deserialize, Deserializer, Serialize};

use super::{files::Shipped, policy::Policy};
use crate::{
    host::{
        contract::Installed,
        json::{AnswerError, line, object},
    },
    interop::Output,
    model::PlainText,
};

/// Most characters of what a check found: a list of facts, of network interfaces
/// among others.
const DETAIL_MAX: usize = 4000;

/// A call of `host.ps1`: what is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Order<'a> {
    /// What is installed and agreed? Changes nothing.
    Look,
    /// Install these files and agree to this policy.
    Install {
        /// The policy.
        policy: &'a Policy,
        /// This package's version.
        package: &'a str,
        /// The files, which follow the order.
        files: &'a [Shipped],
        /// Whether the elevated window asks nothing; for a caller alone that is
        /// an administrator already.
        #[serde(skip_serializing_if = "is_false")]
        agreed: bool,
    },
    /// Remove everything of this Windows user.
    Uninstall {
        /// The file that does it.
        files: &'a [Shipped],
        /// As for [`Order::Install`].
        #[serde(skip_serializing_if = "is_false")]
        agreed: bool,
    },
    /// Look at everything that must be right.
    Check {
        /// Whether a port of loopback, netsh and the task may be tried.
        probe: bool,
    },
}

impl Order<'_> {
    /// What `host.ps1` reads: the request, and for each of its files a line with the length
    /// in bytes, and the bytes.
    ///
    /// # Errors
    /// See [`line`].
    pub(super) fn input(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut input = line(self)?.into_bytes();
        let files = match self {
            Self::Install { files, .. } | Self::Uninstall { files, .. } => *files,
            Self::Look | Self::Check { .. } => &[],
        };
        for file in files {
            input.extend_from_slice(format!("{}\n", file.size()).as_bytes());
            input.extend_from_slice(&file.content);
        }
        Ok(input)
    }
}

/// Scripts of an earlier version know no such field.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_false(agreed: &bool) -> bool {
    !agreed
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Files, policy, task and registry are as asked.
    Installed,
    /// Nothing of this user is left.
    Removed,
    /// What is installed and agreed was read.
    Looked,
    /// The checks were made.
    Checked,
    /// There was nothing to install or to remove.
    NothingToDo,
    /// Windows' prompt was declined or not answered: both are one code.
    Declined,
    /// The elevated window was answered with no.
    Refused,
    /// It was agreed to, and the work is not done yet.
    Unfinished,
    /// Another call of this Windows user is asking.
    Busy,
    /// A policy of the machine forbids it.
    Forbidden,
    /// PowerShell may not run programs of its own here.
    Constrained,
    /// No user is logged on at the desktop to answer a prompt.
    NoDesktop,
    /// A file was not what its hash says.
    VerificationFailed,
    /// Another Windows user has installed another version.
    OtherUserVersion,
    /// The script refused the request.
    InvalidRequest,
    /// Something went wrong; `detail` names the step.
    Failed,
}

/// What is agreed with the Windows user that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Agreed {
    /// Nothing.
    #[default]
    Nothing,
    /// This.
    Policy(Box<Policy>),
    /// Something that this version cannot read.
    Unreadable,
}

impl<'de> Deserialize<'de> for Agreed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Option::<serde_json::Value>::deserialize(from)?;
        Ok(value.map_or(Self::Nothing, |value| {
            serde_json::from_value(value)
                .map_or(Self::Unreadable, |policy| Self::Policy(Box::new(policy)))
        }))
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    /// As it should be.
    Ok,
    /// Otherwise.
    Differs,
    /// It was not made; `detail` says why.
    NotRun,
}

/// One numbered check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// Its number, such as `T1`.
    pub id: PlainText,
    /// Whether what it states is true.
    pub result: CheckResult,
    /// What was found, or why nothing was.
    #[serde(default, deserialize_with = "text_or_null")]
    pub detail: PlainText<DETAIL_MAX>,
}

fn text_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<PlainText<DETAIL_MAX>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What the installed task was asked for last, as `forward.ps1` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Selection {
    /// 1: NAT, 2: mirrored; 0 where it was not asked for anything.
    pub mode: u8,
    /// Protocol, listen port, connect port and what serves it, in the task's numbers.
    pub forwards: Vec<[u16; 4]>,
}

/// `None` for a text that is none of ours.
fn selection<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Selection>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.and_then(|text| match text.as_str() {
        "" => Some(Selection::default()),
        text => serde_json::from_str(text).ok(),
    }))
}

/// What the script reported. Fields that a newer script may add are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// How the call ended.
    pub state: State,
    /// More about it for a person, as plain text.
    pub detail: Option<PlainText>,
    /// What is installed now.
    pub installed: Option<Installed>,
    /// What is agreed now.
    pub policy: Agreed,
    /// The SID of the Windows user that was asked.
    pub user: Option<PlainText>,
    /// Whether that user's process is elevated by itself.
    #[serde(default)]
    pub elevated: bool,
    /// Whether another user's password was given at the prompt.
    #[serde(default)]
    pub over_the_shoulder: bool,
    /// Other Windows users of this machine who have installed wslmesh, by SID.
    #[serde(default)]
    pub other_users: Vec<PlainText>,
    /// What was done, a line each.
    #[serde(default)]
    pub done: Vec<PlainText>,
    /// The checks.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// With the checks, where it can be read: what the task was asked for last.
    #[serde(default, deserialize_with = "selection")]
    pub selection: Option<Selection>,
}

impl Answer {
    /// Whether a policy of Windows kept the relay from being started at the installation.
    #[must_use]
    pub fn relay_forbidden(&self) -> bool {
        (self.installed.as_ref()).is_some_and(|installed| installed.relay_forbidden)
    }

    /// Reads what the script printed.
    ///
    /// # Errors
    /// Anything but exactly one answer of this contract's version.
    pub fn parse(output: &Output) -> Result<Self, AnswerError> {
        object(output)
    }
}

#[cfg(test)]
mod tests;
