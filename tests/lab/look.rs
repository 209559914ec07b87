//! A world as other tools than the agent see it: what the agent has made of it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::agent::{FILE, LIMIT};
use crate::contract::Rule;
use crate::world::{World, until};

impl World {
    /// Reads keys of the network file as its readers do, by sourcing it in `sh`.
    pub(crate) fn sourced(&self, keys: &[&str]) -> Result<Vec<String>> {
        self.sourced_from(FILE, keys)
    }

    /// The same with another file.
    pub(crate) fn sourced_from(&self, path: &str, keys: &[&str]) -> Result<Vec<String>> {
        let show = keys.iter().map(|key| format!("\"${key}\""));
        let command = format!(
            ". {path} && printf '%s\\n' {}",
            show.collect::<Vec<_>>().join(" ")
        );
        let text = self.guest(&["sh", "-ec", &command])?.ok()?;
        // A carriage return belongs to its value.
        Ok(text.split_terminator('\n').map(str::to_owned).collect())
    }

    /// Waits until the network file states this.
    pub(crate) fn states(&self, key: &str, value: &str) -> Result<()> {
        let mut found = String::new();
        let what = format!("{key}={value:?}");
        until(&what, LIMIT, || {
            // Cheap first; a shell only once the line is printed.
            let text = self.read(FILE).unwrap_or_default();
            let line = format!("{key}=\"{value}\"");
            found = text
                .lines()
                .filter(|l| l.starts_with(key))
                .collect::<Vec<_>>()
                .join(" ");
            Ok(text.lines().any(|l| l == line).then_some(()))
        })
        .with_context(|| format!("the file says {found:?}"))?;
        ensure!(
            self.sourced(&[key])? == [value],
            "sh does not read {key} as {value:?}"
        );
        Ok(())
    }

    /// An interface's MTU as `ip` shows it.
    pub(crate) fn mtu(&self, name: &str) -> Result<u32> {
        let text = self.guest(&["ip", "-o", "link", "show", name])?.ok()?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "mtu");
        Ok(words.nth(1).context("no mtu")?.parse()?)
    }

    /// Waits until an interface has this MTU.
    pub(crate) fn has_mtu(&self, name: &str, mtu: u32) -> Result<()> {
        until(&format!("MTU {mtu} on {name}"), LIMIT, || {
            Ok((self.mtu(name)? == mtu).then_some(()))
        })
    }

    /// A kernel parameter as `sysctl` shows it, white space made single.
    pub(crate) fn sysctl(&self, key: &str) -> Result<String> {
        let text = self.guest(&["sysctl", "-n", key])?.ok()?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Waits until Windows' table, ours and others', has these rules alone:
    /// listen port on every address, target, target port.
    pub(crate) fn forwards(&self, wanted: &[(u16, &str, u16)]) -> Result<()> {
        let wanted: Vec<Rule> = wanted
            .iter()
            .map(|(listen, to, port)| Rule::new(("0.0.0.0", *listen), (to, *port)))
            .collect::<Result<_>>()?;
        let mut found = Vec::new();
        until("Windows' forwards", LIMIT, || {
            found = self.windows().table()?;
            Ok((found == wanted).then_some(()))
        })
        .with_context(|| format!("{found:?} is not {wanted:?}"))
    }

    /// The names in a folder.
    pub(crate) fn names(&self, folder: &str) -> Result<BTreeSet<String>> {
        std::fs::read_dir(self.path(folder))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// All processes: their ids and command lines.
    pub(crate) fn processes(&self) -> Result<Vec<(u32, String)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.path("/proc"))? {
            let entry = entry?;
            if let Ok(pid) = entry.file_name().to_string_lossy().parse() {
                // A process may end while it is looked at.
                let bytes = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                found.push((pid, String::from_utf8_lossy(&bytes).replace('\0', " ")));
            }
        }
        Ok(found)
    }

    /// The processes with this in their command line.
    pub(crate) fn processes_with(&self, text: &str) -> Result<Vec<(u32, String)>> {
        let mut found = self.processes()?;
        found.retain(|(_, line)| line.contains(text));
        Ok(found)
    }
}
