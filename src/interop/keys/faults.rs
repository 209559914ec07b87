//! What WSL makes of a file otherwise than its writer meant, with line and fix.

use super::{
    super::ini::{BadLine, Entry, Ini, Problem},
    INVENTED, WslFile,
};
use crate::model::excerpt;

/// Something in a file that WSL makes otherwise than its writer meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// Whether WSL loses a value; else it ignores what it does not know.
    pub warns: bool,
    /// What it is.
    pub detail: String,
    /// What to do.
    pub fix: String,
}

impl WslFile {
    /// What WSL, in this version, makes otherwise than its writer meant, in the order of
    /// the lines.
    pub(crate) fn faults(self, ini: &Ini, version: Option<&str>) -> Vec<Fault> {
        let bad = ini.bad().iter().map(|bad| self.bad_line(bad));
        let entries = ini.entries().iter();
        let mut found: Vec<Fault> = bad.collect();
        found.extend(entries.filter_map(|entry| self.fault(ini, entry, version)));
        found.sort_by_key(|fault| fault.line);
        found
    }

    fn bad_line(self, bad: &BadLine) -> Fault {
        let (line, problem) = (bad.line, bad.problem);
        let shown = excerpt(&bad.text);
        let invented = bad.text.to_ascii_lowercase().starts_with(INVENTED);
        let (detail, fix) = match (self, problem) {
            (Self::Config, _) if invented => (
                format!(
                    "line {line}: {INVENTED} is not a WSL key, although guides name it: mirrored mode cannot exclude an interface"
                ),
                "Remove the line; if a VPN on Windows is the reason, use networkingMode=nat"
                    .to_owned(),
            ),
            (Self::Config, Problem::Encoding) => (
                format!("WSL cannot read the file: {problem}"),
                "Save the file as UTF-8".to_owned(),
            ),
            (Self::Config, _) => (
                format!("WSL skips line {line} ({shown}): {problem}"),
                format!("Correct line {line}, or remove it"),
            ),
            (Self::Conf, _) => (
                format!(
                    "WSL stops reading at line {line} ({shown}): {problem}; nothing from there on counts"
                ),
                format!("Correct line {line}, or remove it"),
            ),
        };
        Fault {
            line,
            warns: true,
            detail,
            fix,
        }
    }

    fn fault(self, ini: &Ini, entry: &Entry, version: Option<&str>) -> Option<Fault> {
        let line = entry.line;
        let first = ini.entry(&entry.name).map_or(line, |first| first.line);
        let (warns, detail, fix) = if let Some(key) = self.key(&entry.name) {
            if first != line {
                let detail = format!("{entry} repeats line {first}, which counts");
                (
                    true,
                    detail,
                    format!("Remove line {line}, or line {first} if the later value is meant"),
                )
            } else if let Some(expected) = key.kind.rejects(&entry.value) {
                let value = excerpt(&entry.value);
                let detail =
                    format!("WSL rejects {entry}: it expects {expected}, and \"{value}\" is none");
                (
                    true,
                    detail,
                    format!("Run `{} set {} VALUE`", self.program(), key.name),
                )
            } else if self == Self::Config && !entry.value.is_ascii() {
                let detail =
                    format!("WSL spoils {entry}: it reads ASCII characters alone in a value");
                (
                    true,
                    detail,
                    "Use a path or name without other characters".to_owned(),
                )
            } else if !key.is_in(version) {
                let (since, version) = (key.since, version.unwrap_or_default());
                let detail = format!("{entry} needs WSL {since}, and this is {version}");
                (
                    true,
                    detail,
                    "Run `wsl.exe --update` on Windows, then `wsl.exe --shutdown`".to_owned(),
                )
            } else {
                return None;
            }
        } else {
            let detail = format!("WSL ignores {entry}, which it does not know");
            let other = self.other();
            match (self.alike(&entry.name), other.key(&entry.name)) {
                (_, Some(key)) => {
                    let detail = format!("WSL ignores {entry}, which is a key of {other}");
                    (
                        false,
                        detail,
                        format!(
                            "Run `{} set {} VALUE`, and remove line {line}",
                            other.program(),
                            key.name
                        ),
                    )
                }
                (Some(key), None) => {
                    let detail = format!("{detail}; perhaps {key} is meant");
                    (
                        false,
                        detail,
                        format!(
                            "Write {} into the section [{}], in place of line {line}",
                            key.key(),
                            key.section()
                        ),
                    )
                }
                (None, None) => (false, detail, format!("Remove line {line}")),
            }
        };
        Some(Fault {
            line,
            warns,
            detail,
            fix,
        })
    }
}
