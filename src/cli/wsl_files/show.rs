//! `wslmesh wslconfig show`

use std::path::Path;

use serde::Serialize;
use tokio::time::timeout;

use super::{
    super::{
        output::{Exit, print, print_json},
        style::{bad, dim, heading},
        table::columns,
    },
    TIMEOUT, read, shown,
};
use crate::{
    doctor::in_force,
    interop::{self, Key, WslFile, ini::Ini},
    observe,
};

/// Version of the JSON document.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Report {
    version: u32,
    file: String,
    exists: bool,
    keys: Vec<Row>,
}

/// One key; `value` is what WSL takes: the default where the file has none, or one that
/// WSL rejects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    section: &'static str,
    key: &'static str,
    value: String,
    default: &'static str,
    expects: String,
    since: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// What the file has, where WSL rejects it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<String>,
    /// What the machine shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<String>,
    about: &'static str,
}

pub(super) async fn show(file: WslFile, user: Option<String>, json: bool) -> anyhow::Result<Exit> {
    let (path, bytes) = read(file, user).await?;
    let ini = file.parse(bytes.as_deref().unwrap_or_default());
    let real = real(file).await;
    let keys = file.keys().iter();
    let rows: Vec<Row> = keys.map(|key| row(key, &ini, &real)).collect();
    let (file, exists) = (shown(&path), bytes.is_some());
    if json {
        let report = Report {
            version: VERSION,
            file,
            exists,
            keys: rows,
        };
        print_json(&report)?;
    } else {
        let missing = if exists {
            ""
        } else {
            " does not exist: WSL's defaults apply"
        };
        print(&format!("{file}{missing}"))?;
        print(&page(&rows).join("\n"))?;
    }
    Ok(Exit::Fine)
}

/// What the machine shows of keys, by their names.
async fn real(file: WslFile) -> Vec<(&'static str, String)> {
    let mut real = Vec::new();
    match file {
        WslFile::Config => {
            let machine = observe::machine(Path::new("/"));
            real.extend(
                file.keys()
                    .iter()
                    .filter_map(|key| Some((key.name, in_force(key.name, machine.as_ref()?)?))),
            );
            let mode = timeout(TIMEOUT, interop::ask_mode()).await.ok();
            let mode = mode.and_then(|mode| mode.known());
            real.extend(mode.map(|mode| ("wsl2.networkingMode", mode.to_string())));
        }
        WslFile::Conf => {
            // As sd_booted(3) does.
            let systemd = Path::new("/run/systemd/system").is_dir();
            real.push(("boot.systemd", systemd.to_string()));
            real.push(("network.hostname", interop::hostname()));
        }
    }
    real
}

fn row(key: &Key, ini: &Ini, real: &[(&str, String)]) -> Row {
    let entry = ini.entry(key.name);
    let taken = key.taken(ini);
    let rejected = entry.filter(|_| taken.is_none());
    let of_machine = real.iter().find(|(name, _)| *name == key.name);
    Row {
        section: key.section(),
        key: key.key(),
        value: taken.map_or_else(|| key.default.to_owned(), |entry| entry.value.clone()),
        default: key.default,
        expects: key.kind.to_string(),
        since: key.since,
        line: entry.map(|entry| entry.line),
        rejected: rejected.map(|entry| entry.value.clone()),
        in_force: of_machine.map(|(_, value)| value.clone()),
        about: key.about,
    }
}

/// Keys by section: value, where it comes from, and what is in force.
fn page(rows: &[Row]) -> Vec<String> {
    let cells = |row: &Row| {
        let value = if row.value.is_empty() {
            "-"
        } else {
            &row.value
        };
        let from = match (row.line, &row.rejected) {
            (Some(line), None) => format!("line {line}"),
            (Some(line), Some(_)) => format!("default, line {line} is rejected"),
            (None, _) => "default".to_owned(),
        };
        let real = row.in_force.as_ref();
        let real = real.map_or_else(String::new, |real| format!("in force: {real}"));
        [row.key.to_owned(), value.to_owned(), from, real]
    };
    let table = columns(rows.iter().map(cells).collect(), usize::MAX, false);
    let mut lines = Vec::new();
    let mut section = "";
    for (row, (_, cells)) in rows.iter().zip(table) {
        if section != row.section {
            section = row.section;
            lines.push(heading(&format!("[{section}]")));
        }
        let text = format!("  {}", cells.join("  "));
        let text = text.trim_end();
        lines.push(match (row.line, &row.rejected) {
            (None, _) => dim(text),
            (Some(_), Some(_)) => bad(text),
            (Some(_), None) => text.to_owned(),
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_where_a_value_comes_from() {
        let ini =
            Ini::wslconfig(b"[wsl2]\nmemory=4GB\nswap=2 GB\n[experimental]\nfirewall=false\n");
        let real = [("wsl2.memory", "7860 MiB".to_owned())];
        let keys = WslFile::Config.keys().iter();
        let rows: Vec<Row> = keys.map(|key| row(key, &ini, &real)).collect();
        let page = page(&rows);
        let line = |start: &str| {
            let line = page
                .iter()
                .find(|line| line.trim_start().starts_with(start));
            Vec::from_iter(line.unwrap().split_whitespace()).join(" ")
        };
        assert_eq!(line("memory "), "memory 4GB line 2 in force: 7860 MiB");
        assert_eq!(
            line("swap "),
            "swap a quarter of the memory default, line 3 is rejected"
        );
        assert_eq!(line("firewall "), "firewall false line 5");
        assert_eq!(line("kernel "), "kernel - default");
        assert_eq!(page.iter().filter(|line| line.starts_with('[')).count(), 3);
    }
}
