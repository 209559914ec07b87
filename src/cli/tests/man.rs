//! The man pages, generated from clap and from man/parts.
//!
//! A part is roff: the text before its first `.SH` ends the DESCRIPTION, its sections
//! follow the generated ones. After a change of the command line or of a part run
//! `WSLMESH_WRITE_DOCS=1 cargo test --lib man`. A command without a part has a page, too;
//! `cargo test --lib man -- --nocapture` lists its name.

use std::{collections::BTreeMap, fmt::Write as _, fs, io, path::Path};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::cli::{Arguments, table::WIDTH};

const TITLE: &str = "\"\" \"wslmesh\" \"System Administration\"";

/// The last sections of each page whose part does not have them.
const LAST: [(&str, &str); 2] = [
    (
        "EXIT STATUS",
        "0 success, 1 failure, 2 usage error, 3 success but degraded.\n",
    ),
    ("SEE ALSO", ".BR wslmesh (8),\n.BR wslmesh.toml (5)\n"),
];

fn root() -> Command {
    let mut root = Arguments::command();
    root.build();
    root
}

/// A section of clap_mangen without heading and preamble.
fn section(command: &Command, render: fn(&Man, &mut dyn io::Write) -> io::Result<()>) -> String {
    let mut bytes = Vec::new();
    render(&Man::new(command.clone()), &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let lines = text.lines().filter(|line| {
        let preamble = [".ie \\n(.g", ".el .ds Aq", ".SH "];
        !preamble.iter().any(|begin| line.starts_with(begin))
    });
    lines.map(|line| format!("{line}\n")).collect()
}

fn description(command: &Command) -> String {
    section(command, Man::render_description_section)
}

fn options(command: &Command) -> String {
    section(command, Man::render_options_section)
}

fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    // One line for each form, which roff breaks.
    let words = usage.trim_start_matches("Usage: ").split_whitespace();
    let line = Vec::from_iter(words).join(" ");
    let name = command.get_bin_name().unwrap_or_default();
    let between = format!(" {name} ");
    let forms = line.split(&between);
    let forms = forms.enumerate().map(|(index, form)| match index {
        0 => escaped(form),
        _ => escaped(&format!("{name} {form}")),
    });
    format!("{}\n", Vec::from_iter(forms).join("\n.br\n"))
}

/// Options without those of every command.
fn own_options(command: &Command) -> String {
    let everywhere = |id: &str| id == "help" || id == "config";
    options(&command.clone().mut_args(|one| {
        let hide = one.is_hide_set() || everywhere(one.get_id().as_str());
        one.hide(hide)
    }))
}

/// Subcommands without clap's `help`.
fn below(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|one| one.get_name() != "help" && !one.is_hide_set())
}

/// Plain text in roff.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
}

fn about(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string);
    escaped(&about.unwrap_or_default())
}

/// The page of the program or of one command, with its part.
fn page(name: &str, command: &Command, part: &str) -> String {
    let (words, sections) = match part.find(".SH ") {
        Some(at) => part.split_at(at),
        None => (part, ""),
    };
    let root = name == "wslmesh";
    let mut text = format!(
        ".\\\" Generated from the command line and man/parts/{name}.8: WSLMESH_WRITE_DOCS=1 cargo test --lib man\n\
         .ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH {} 8 {TITLE}\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
        name.to_uppercase(),
        escaped(name),
        about(command),
    );
    let groups = !root && below(command).next().is_some();
    let synopses = match groups {
        true => below(command).map(synopsis).collect(),
        false => vec![synopsis(command)],
    };
    text.push_str(&synopses.join(".br\n"));
    write!(text, ".SH DESCRIPTION\n{}{words}", description(command)).unwrap();
    if root {
        text.push_str(".SH COMMANDS\n");
        for one in below(command) {
            let name = one.get_name();
            writeln!(text, ".TP\n.BR wslmesh\\-{name} (8)\n{}", about(one)).unwrap();
        }
    }
    if groups {
        text.push_str(".SH COMMANDS\n");
        for one in below(command) {
            let name = one.get_bin_name().unwrap_or_default();
            let name = escaped(&name.replace("wslmesh ", ""));
            let (said, options) = (description(one), own_options(one));
            write!(text, ".SS {name}\n{said}{options}").unwrap();
        }
    }
    write!(text, ".SH OPTIONS\n{}", options(command)).unwrap();
    text.push_str(sections);
    for (heading, body) in LAST {
        if !sections.contains(&format!(".SH {heading}\n")) {
            write!(text, ".SH {heading}\n{body}").unwrap();
        }
    }
    text
}

#[test]
fn pages_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let root = root();
    let named = |one| (format!("wslmesh-{}", Command::get_name(one)), one);
    let mut commands: BTreeMap<String, &Command> = below(&root).map(named).collect();
    commands.insert("wslmesh".to_owned(), &root);
    let mut stale = Vec::new();
    for (name, command) in &commands {
        let part = fs::read_to_string(folder.join(format!("parts/{name}.8")));
        let part = part.unwrap_or_else(|_| {
            println!("man/parts/{name}.8 does not exist: {name}(8) has only its help");
            String::new()
        });
        let (path, text) = (folder.join(format!("{name}.8")), page(name, command, &part));
        if std::env::var_os("WSLMESH_WRITE_DOCS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(format!("{name}.8"));
        }
    }
    let known = |file: &str| commands.contains_key(file.trim_end_matches(".8"));
    for of in ["", "parts"] {
        for entry in fs::read_dir(folder.join(of)).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            if file.ends_with(".8") && !known(&file) {
                stale.push(format!("{of}/{file} belongs to no command"));
            }
        }
    }
    assert!(
        stale.is_empty(),
        "WSLMESH_WRITE_DOCS=1 cargo test --lib man: {stale:?}"
    );
}

/// A command and all below it.
fn all(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().flat_map(all);
    std::iter::once(command).chain(below).collect()
}

#[test]
fn every_command_has_a_description() {
    for command in all(&root()) {
        let path = command.get_bin_name().unwrap_or_default();
        assert!(about(command).len() > 12, "{path} has no description");
        for argument in command.get_arguments() {
            let id = argument.get_id();
            assert!(argument.get_help().is_some(), "{path}: {id} has no help");
        }
    }
}

/// Clap does not wrap usage lines.
#[test]
fn no_usage_is_wider_than_a_terminal() {
    let root = root();
    let usage = |command: &Command| command.clone().render_usage().to_string();
    let usages: Vec<String> = all(&root).into_iter().map(usage).collect();
    let lines: Vec<&str> = usages.iter().flat_map(|usage| usage.lines()).collect();
    assert!(lines.len() > 14, "{lines:#?}");
    for line in lines {
        assert!(line.chars().count() <= WIDTH, "{line}");
    }
    let mut usages = usages.iter();
    let add = usages
        .find(|usage| usage.contains(" forward add "))
        .unwrap();
    assert!(
        add.contains("--protocol") && add.contains("--listen-port"),
        "{add}"
    );
}
