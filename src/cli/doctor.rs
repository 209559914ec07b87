//! `wslmesh doctor`

mod fix;

use anyhow::bail;
use clap::{Args, builder::PossibleValuesParser, builder::TypedValueParser};
use serde::Serialize;

use self::fix::Fixed;
use super::{
    output::{Exit, print},
    style::{bad, dim, good, heading, warn},
    table::{WIDTH, wrap},
};
use crate::{
    config::Source,
    doctor::{Check, Fix, Grade, Group, Part, Verdict, Wish, examine, gather},
    paths::Paths,
};

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// Repair what is safe, as root: one pass of the agent, owners and modes of wslmesh's own files
    #[arg(long)]
    fix: bool,
    /// Print the verdicts as JSON
    #[arg(long)]
    json: bool,
    /// Ask the name server also where it is in no private network (for the root's name servers)
    #[arg(long)]
    network: bool,
    /// Look at these only: all where none is named
    #[arg(value_name = "GROUP", value_parser = groups())]
    groups: Vec<Group>,
}

fn groups() -> impl TypedValueParser<Value = Group> {
    let names = Group::ALL.iter().map(|group| group.as_str());
    PossibleValuesParser::new(names).map(|name| {
        let named = |group: &&Group| group.as_str() == name;
        let found = Group::ALL.iter().find(named);
        found.copied().unwrap_or(Group::System)
    })
}

/// Version of the JSON document.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    checks: Vec<Entry<'a>>,
    #[serde(flatten)]
    fixed: &'a Fixed,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'static str,
    group: &'static str,
    title: &'static str,
    verdict: Grade,
    detail: &'a str,
    why: &'static str,
    remediation: &'a str,
    fixable: bool,
    parts: Vec<EntryPart>,
}

/// One of the things that a check tells; `detail` and `remediation` of the check are all
/// details in one and the fix of the worst.
#[derive(Serialize)]
struct EntryPart {
    verdict: Grade,
    detail: String,
    remediation: String,
}

fn entry_parts(check: Check, verdict: &Verdict) -> Vec<EntryPart> {
    let parts = verdict.parts().into_iter();
    parts
        .map(
            |Part {
                 grade,
                 detail,
                 remediation,
             }| EntryPart {
                verdict: grade,
                detail,
                remediation: remediation.unwrap_or_else(|| check.remediation().to_owned()),
            },
        )
        .collect()
}

type Found = [(Check, Verdict)];

pub(super) async fn doctor(command: Command, source: Source, paths: Paths) -> anyhow::Result<Exit> {
    let wish = Wish {
        network: command.network,
    };
    if command.fix && !rustix::process::geteuid().is_root() {
        bail!("--fix changes the machine, which takes root: sudo wslmesh doctor --fix");
    }
    let mut facts = gather(&source, &paths, wish).await;
    let mut fixed = Fixed::default();
    if command.fix {
        let found = examine(&facts, &command.groups);
        fixed = fix::fix(&found, &facts, &source, &paths).await;
        facts = gather(&source, &paths, wish).await;
    }
    let found = examine(&facts, &command.groups);
    if command.json {
        print(&json(&found, &fixed)?)?;
    } else {
        for line in fixed_lines(command.fix, &fixed) {
            print(&line)?;
        }
        for line in table(&found) {
            print(&line)?;
        }
    }
    Ok(exit(&found))
}

fn fixed_lines(wanted: bool, fixed: &Fixed) -> Vec<String> {
    let Fixed {
        done,
        asked,
        failed,
    } = fixed;
    let mut lines = Vec::new();
    for (word, texts) in [("fixed", done), ("asked", asked), ("not fixed", failed)] {
        for text in texts {
            let wrapped = wrap(&format!("{word}: {text}"), WIDTH - MARGIN);
            lines.extend(wrapped.iter().enumerate().map(|(place, line)| {
                let margin = if place == 0 { 0 } else { MARGIN };
                format!("{:margin$}{line}", "")
            }));
        }
    }
    match (wanted, lines.is_empty()) {
        (true, true) => lines.push("nothing that is safe to fix".to_owned()),
        (false, true) => return lines,
        (_, false) => {}
    }
    lines.push(String::new());
    lines
}

fn exit(found: &Found) -> Exit {
    if found.iter().any(|(_, verdict)| verdict.grade.is_trouble()) {
        Exit::Degraded
    } else {
        Exit::Fine
    }
}

fn json(found: &Found, fixed: &Fixed) -> serde_json::Result<String> {
    let checks = found.iter().map(|(check, verdict)| Entry {
        id: check.id(),
        group: check.group().as_str(),
        title: check.title(),
        verdict: verdict.grade,
        detail: &verdict.detail,
        why: check.why(),
        remediation: remediation(*check, verdict),
        fixable: check.fix() != Fix::None,
        parts: entry_parts(*check, verdict),
    });
    serde_json::to_string_pretty(&Report {
        version: VERSION,
        checks: checks.collect(),
        fixed,
    })
}

fn remediation(check: Check, verdict: &Verdict) -> &str {
    verdict
        .remediation
        .as_deref()
        .unwrap_or_else(|| check.remediation())
}

/// Columns before a check's text: a margin, the grade, the name.
const MARGIN: usize = 2;
const GRADE: usize = 8;
const NAME: usize = 20;

fn table(found: &Found) -> Vec<String> {
    let mut lines = Vec::new();
    let mut group = None;
    for (check, verdict) in found {
        if group != Some(check.group()) {
            group = Some(check.group());
            lines.push(heading(check.group().as_str()));
        }
        lines.extend(one(*check, verdict));
    }
    lines.push(String::new());
    lines.push(summary(found));
    lines
}

/// One check: a line where all is well, with why and the fix where it is not.
/// Of several things each has its own grade and fix.
fn one(check: Check, verdict: &Verdict) -> Vec<String> {
    let indent = MARGIN + GRADE + NAME;
    let parts = grouped(entry_parts(check, verdict));
    if parts.is_empty() {
        let mut texts = wrap(&verdict.detail, WIDTH - indent);
        shorten(&mut texts, WIDTH - indent);
        let text = dim(&texts.concat());
        return vec![format!("{}{text}", head(verdict.grade, check.id()))];
    }
    let below = MARGIN + GRADE;
    let told = |word: &str, text: &str| -> Vec<String> {
        let wrapped = wrap(&format!("{word}: {text}"), WIDTH - below);
        let lines = wrapped.iter();
        lines
            .map(|line| format!("{:below$}{}", "", dim(line)))
            .collect()
    };
    let mut lines = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let name = if place == 0 { check.id() } else { "" };
        let mut texts = wrap(&part.detail, WIDTH - indent).into_iter();
        let first = texts.next().unwrap_or_default();
        lines.push(format!("{}{first}", head(part.verdict, name)));
        lines.extend(texts.map(|text| format!("{:indent$}{text}", "")));
        if place == 0 {
            lines.extend(told("why", check.why()));
        }
        lines.extend(told("fix", &part.remediation));
    }
    lines
}

/// What is before a check's text: its grade and its name.
fn head(grade: Grade, name: &str) -> String {
    let grade = coloured(grade, &format!("{grade:<GRADE$}"));
    format!("{:MARGIN$}{grade}{name:<NAME$}", "")
}

/// Parts of one grade and with one fix are one.
fn grouped(parts: Vec<EntryPart>) -> Vec<EntryPart> {
    let mut groups: Vec<EntryPart> = Vec::new();
    for part in parts {
        let same = |group: &&mut EntryPart| {
            (group.verdict, &group.remediation) == (part.verdict, &part.remediation)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.detail = format!("{}; {}", group.detail, part.detail),
            None => groups.push(part),
        }
    }
    groups
}

/// What is well needs one line.
fn shorten(texts: &mut Vec<String>, width: usize) {
    if texts.len() > 1 {
        texts.truncate(1);
        if let Some(first) = texts.first_mut() {
            while first.chars().count() + 4 > width {
                first.pop();
            }
            first.push_str(" ...");
        }
    }
}

fn coloured(grade: Grade, text: &str) -> String {
    match grade {
        Grade::Skipped => dim(text),
        Grade::Ok => good(text),
        Grade::Note => text.to_owned(),
        Grade::Warning => warn(text),
        Grade::Failed => bad(text),
    }
}

fn summary(found: &Found) -> String {
    let count = |grade: Grade| found.iter().filter(|(_, v)| v.grade == grade).count();
    let order = [
        (Grade::Failed, "failed"),
        (Grade::Warning, "warnings"),
        (Grade::Note, "notes"),
        (Grade::Ok, "ok"),
        (Grade::Skipped, "skipped"),
    ];
    let word = |grade, many: &'static str, count| match (grade, count) {
        (Grade::Warning, 1) => "warning",
        (Grade::Note, 1) => "note",
        _ => many,
    };
    let parts = order.into_iter().filter_map(|(grade, many)| {
        let count = count(grade);
        let text = format!("{count} {}", word(grade, many, count));
        (count > 0).then(|| coloured(grade, &text))
    });
    let parts: Vec<String> = parts.collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests;
