//! What the demo prints: at most 80 columns, colour only for a terminal.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;

/// The default width of a terminal.
const WIDTH: usize = 80;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// Where the demo prints.
pub(crate) struct Screen {
    /// What was printed, where a trial reads it; else it goes to stdout.
    kept: Option<String>,
    colour: bool,
}

impl Screen {
    /// Standard output.
    pub(super) fn stdout() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            kept: None,
            // https://no-color.org
            colour: io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
        }
    }

    /// Nowhere but [`text`](Self::text).
    pub(super) fn memory() -> Self {
        Self {
            kept: Some(String::new()),
            colour: false,
        }
    }

    /// What was printed so far, by [`memory`](Self::memory).
    pub(super) fn text(&self) -> &str {
        self.kept.as_deref().unwrap_or_default()
    }

    /// Prints as it is.
    pub(super) fn plain(&mut self, text: &str) -> Result<()> {
        if let Some(kept) = &mut self.kept {
            kept.push_str(text);
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// The first line.
    pub(super) fn title(&mut self, text: &str) -> Result<()> {
        let text = self.paint(BOLD, text);
        self.plain(&format!("{text}\n\n"))
    }

    /// A fact about the demo: a name, then a sentence or two.
    pub(super) fn fact(&mut self, name: &str, text: &str) -> Result<()> {
        const NAME: usize = 14;
        for (index, line) in wrap(text, WIDTH - 2 - NAME).iter().enumerate() {
            let head = if index == 0 { name } else { "" };
            let head = self.paint(BOLD, &format!("{head:<NAME$}"));
            self.plain(&format!("  {head}{line}\n"))?;
        }
        Ok(())
    }

    /// The head of a scene.
    pub(super) fn scene(&mut self, text: &str) -> Result<()> {
        let text = self.paint(BOLD, &format!("> {text}"));
        self.plain(&format!("\n{text}\n"))
    }

    /// One thing that happened, so many ms after the scene began.
    pub(super) fn event(&mut self, ms: u64, who: Who, text: &str) -> Result<()> {
        let (name, colour) = match who {
            Who::Agent => ("wslmesh", ""),
            Who::Problem => ("wslmesh", YELLOW),
            Who::Lab => ("lab", DIM),
            Who::Client => ("client", GREEN),
        };
        for (index, line) in wrap(text, WIDTH - 21).iter().enumerate() {
            let head = if index == 0 {
                format!("{ms:>7} ms  {name:<8}")
            } else {
                " ".repeat(20)
            };
            let line = if colour.is_empty() {
                line.clone()
            } else {
                self.paint(colour, line)
            };
            self.plain(&format!("{head} {line}\n"))?;
        }
        Ok(())
    }

    /// The reason of a failure.
    pub(super) fn failure(&mut self, text: &str) -> Result<()> {
        let mark = self.paint(RED, "FAILED");
        let text = wrap(text, WIDTH - 8).join("\n        ");
        self.plain(&format!("\n{mark}  {text}\n"))
    }
}

/// The source of a line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    /// A log line of the agent.
    Agent,
    /// A warning or an error of the agent.
    Problem,
    /// What the lab saw from outside.
    Lab,
    /// The client's view.
    Client,
}

/// One row of the table. Times in ms after the change.
#[derive(Debug)]
pub(crate) struct Row {
    /// What happened.
    pub(super) change: String,
    /// What the agent said it did.
    pub(super) did: Vec<String>,
    /// When the file was replaced.
    pub(super) file: Option<u64>,
    /// When the forward led to the new address.
    pub(super) forward: Option<u64>,
    /// For how long the client was cut off; `None` where it had no connection
    /// before.
    pub(super) outage: Option<u64>,
}

const CHANGE: usize = 19;
const DID: usize = 33;

/// The mean of the outages in ms.
pub(super) fn mean(rows: &[Row]) -> u64 {
    let outages = rows.iter().filter_map(|row| row.outage);
    let (count, sum) = outages
        .filter(|ms| *ms > 0)
        .fold((0, 0), |(count, sum), ms| (count + 1, sum + ms));
    u64::checked_div(sum, count).unwrap_or(0)
}

/// Prints the table.
pub(super) fn table(screen: &mut Screen, rows: &[Row]) -> Result<()> {
    let ms = |value: Option<u64>, none: &str| {
        value.map_or_else(|| none.to_owned(), |value| format!("{value} ms"))
    };
    let rule = format!("{}\n", "-".repeat(WIDTH));
    let heads = [
        ["", "", "file", "forward", "client"],
        [
            "change",
            "what wslmesh did",
            "replaced",
            "changed",
            "cut off",
        ],
    ];
    screen.plain("\n")?;
    for [change, did, file, forward, outage] in heads {
        let head = line(change, did, file, forward, outage);
        let head = screen.paint(BOLD, head.trim_end());
        screen.plain(&format!("{head}\n"))?;
    }
    for row in rows {
        screen.plain(&rule)?;
        let change = wrap(&row.change, CHANGE);
        let did: Vec<String> = row.did.iter().flat_map(|part| hang(part)).collect();
        for index in 0..change.len().max(did.len()) {
            let cell = |lines: &[String]| lines.get(index).cloned().unwrap_or_default();
            let only_first = |text: String| if index == 0 { text } else { String::new() };
            let outage = match row.outage {
                Some(0) => "never".to_owned(),
                outage => ms(outage, "-"),
            };
            let text = line(
                &cell(&change),
                &cell(&did),
                &only_first(ms(row.file, "-")),
                &only_first(ms(row.forward, "-")),
                &only_first(outage),
            );
            screen.plain(&format!("{}\n", text.trim_end()))?;
        }
    }
    screen.plain(&rule)?;
    screen.plain("Times count from the change; wslmesh waits 50 ms for the network to be quiet.\n")
}

fn line(change: &str, did: &str, file: &str, forward: &str, outage: &str) -> String {
    format!("{change:<CHANGE$} {did:<DID$} {file:>8} {forward:>8} {outage:>8}")
}

/// Wraps one part of a cell; further lines hang.
fn hang(part: &str) -> Vec<String> {
    let lines = wrap(part, DID - 2);
    let shift = |(index, line): (usize, String)| match index {
        0 => line,
        _ => format!("  {line}"),
    };
    lines.into_iter().enumerate().map(shift).collect()
}

/// Breaks a text at blanks into lines of at most `width` characters; a longer
/// word is broken too.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        while !rest.is_empty() {
            let piece: String = rest.drain(..rest.len().min(width)).collect();
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.push_str(&piece),
                Some(line) if line.chars().count() + 1 + piece.chars().count() <= width => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                _ => lines.push(piece),
            }
        }
    }
    lines
}
