//! Kernel parameters: names, values and what reading one gave.

use std::{fmt, path::PathBuf};

/// A parameter below `net.`, in dotted form such as `net.ipv4.tcp_rmem`.
///
/// As in sysctl.d(5), a `/` in the written form means a `.` inside an
/// interface name (`net/ipv4/conf/eth0.10/rp_filter`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SysctlKey {
    parts: Vec<String>,
}

/// Parameters whose values are secrets: they would appear in the journal and in
/// the saved values.
const SECRET: &[&str] = &["stable_secret", "tcp_fastopen_key"];

impl SysctlKey {
    /// The key, or the reason why it is refused.
    ///
    /// # Errors
    /// A key outside `net.`, with an empty part, or with a character that no
    /// kernel parameter has (`..` could leave /proc/sys).
    pub fn parse(written: &str) -> Result<Self, &'static str> {
        let separator = if written.contains('/') { '/' } else { '.' };
        let parts: Vec<String> = written.split(separator).map(str::to_owned).collect();
        if parts.first().map(String::as_str) != Some("net") || parts.len() < 3 {
            return Err(
                "only parameters below net. are set here, such as net.core.rmem_max; put others in /etc/sysctl.d",
            );
        }
        let plain = |part: &String| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        if !parts.iter().all(plain) {
            return Err("a parameter's name has letters, digits, _ and - between its dots");
        }
        if parts
            .last()
            .is_some_and(|last| SECRET.contains(&last.as_str()))
        {
            return Err(
                "the value is a secret, and the agent reports what it sets; use /etc/sysctl.d",
            );
        }
        Ok(Self { parts })
    }

    /// The file below /proc/sys.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let parts = self.parts.iter().map(String::as_str);
        ["/proc/sys"].into_iter().chain(parts).collect()
    }

    /// The name's parts: `net`, `ipv4`, `tcp_rmem`.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.parts
    }
}

impl fmt::Display for SysctlKey {
    /// With dots, unless a part has one itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dotted = self.parts.iter().any(|part| part.contains('.'));
        f.write_str(&self.parts.join(if dotted { "/" } else { "." }))
    }
}

/// A parameter's value. The kernel prints lists with tabs and people write
/// them with blanks, so white space is folded to one blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlValue(String);

impl SysctlValue {
    /// The value with white space folded.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self(value.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The folded text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SysctlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What reading a parameter gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SysctlReading {
    /// Its value, and whether this process may change it.
    Value {
        /// The value now.
        value: SysctlValue,
        /// False where the kernel shares the parameter read-only with this
        /// network namespace, as it does with `net.core.rmem_max`.
        writable: bool,
    },
    /// The kernel or this network namespace has no such parameter.
    Missing,
    /// Reading failed; the text says how.
    Unreadable(String),
}

#[cfg(test)]
mod tests;
