//! `wslmesh wslconfig check`

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    super::{
        output::{Exit, print, print_json, prose},
        style,
    },
    in_time, read, shown, version,
};
use crate::{
    doctor::advice,
    interop::{Fault, WslFile},
    model::{Severity, counted},
    observe,
};

/// Version of the JSON document.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    version: u32,
    file: &'a str,
    exists: bool,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    line: usize,
    severity: Severity,
    detail: String,
    remediation: String,
    /// Nothing is wrong with the file: WSL has not read it yet.
    #[serde(skip)]
    pending: bool,
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self {
            line: fault.line,
            severity: if fault.warns {
                Severity::Warning
            } else {
                Severity::Info
            },
            detail: fault.detail,
            remediation: fault.fix,
            pending: false,
        }
    }
}

pub(super) async fn check(file: WslFile, user: Option<String>, json: bool) -> anyhow::Result<Exit> {
    let (path, bytes) = read(file, user).await?;
    let problems = match &bytes {
        Some(bytes) => problems(file, bytes, version().await.as_deref()),
        None => {
            let path = path.clone();
            in_time(file, move || Ok(near(file, &path))).await?
        }
    };
    let found = !problems.is_empty();
    let exit = Exit::unless(problems.iter().any(|problem| !problem.pending));
    let name = shown(&path);
    if json {
        let exists = bytes.is_some();
        let report = Report {
            version: VERSION,
            file: &name,
            exists,
            problems,
        };
        print_json(&report)?;
        return Ok(exit);
    }
    for problem in &problems {
        let Problem {
            line,
            severity,
            detail,
            remediation,
            ..
        } = problem;
        let place = if *line > 0 {
            format!("{name}:{line}")
        } else {
            name.clone()
        };
        let text = prose(&format!("{severity}: {place}: {detail}"));
        print(&style::with_severity(&text, *severity))?;
        print(&style::dim(&prose(&format!("  fix: {remediation}"))))?;
    }
    match &bytes {
        None if !found => print(&format!("{name} does not exist: WSL's defaults apply"))?,
        Some(bytes) if !found => {
            let keys = counted(file.parse(bytes).entries().len(), "key");
            print(&format!("{name}: {} ({keys})", style::good("fine")))?;
        }
        _ => {}
    }
    Ok(exit)
}

/// All that is wrong with a file's text, by its lines.
fn problems(file: WslFile, bytes: &[u8], version: Option<&str>) -> Vec<Problem> {
    let ini = file.parse(bytes);
    let faults = file.faults(&ini, version).into_iter();
    let mut problems: Vec<Problem> = faults.map(Problem::from).collect();
    let machine = (file == WslFile::Config)
        .then(|| observe::machine(Path::new("/")))
        .flatten();
    for key in file.keys() {
        let (Some(entry), Some(machine)) = (key.taken(&ini), machine) else {
            continue;
        };
        for (severity, detail) in advice(key.name, &entry.value, &machine) {
            problems.push(Problem {
                line: entry.line,
                severity,
                detail,
                pending: severity == Severity::Info,
                remediation: match severity {
                    Severity::Info => "Run `wsl.exe --shutdown` on Windows, which ends all distributions; if it stays, set what Windows has".to_owned(),
                    _ => format!("Run `wslmesh wslconfig set {} VALUE` with another value", key.name),
                },
            });
        }
    }
    problems.sort_by_key(|problem| problem.line);
    problems
}

/// Files that look as if they were meant, where the right one does not exist.
fn near(file: WslFile, path: &Path) -> Vec<Problem> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let near = file.near().iter().map(|name| folder.join(name));
    let found = near.filter(|path| path.symlink_metadata().is_ok());
    let problem = |other: PathBuf| {
        let (other, path) = (shown(&other), shown(path));
        Problem {
            line: 0,
            severity: Severity::Warning,
            detail: format!("it does not exist, and WSL does not read {other}"),
            remediation: format!("Rename {other} to {path}"),
            pending: false,
        }
    };
    found.map(problem).collect()
}
