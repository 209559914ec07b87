//! What the parser accepts and Windows PowerShell 5.1 does not, or takes in another
//! way than it reads. Names (commands, types, variables) are checked in `names.rs`.

use tree_sitter::{Node, Parser, Tree};

/// Every lint by name. Each has a sample in `broken/` that it alone must catch.
pub(crate) const RULES: &[&str] = &[
    "syntax",
    "ascii",
    "strict-mode",
    "stop-on-error",
    "silent-progress",
    "output-encoding",
    "colon-after-variable",
    "property-in-string",
    "try-without-handler",
    "literal-assignment",
    "input-redirection",
    "redirection",
    "chain",
    "ternary",
    "null-coalescing",
    "count-of-command",
    "splat",
    "run-text",
    "start-process",
    "encoded-command",
    "backtick-continuation",
    "alias",
    "newer-parameter",
    "pipeline-input",
    "windows-boundary",
    "unknown-command",
    "unknown-type",
    "unknown-member",
    "unset-variable",
    "own-parameters",
    "unused-function",
    "com-object",
    "leaked-output",
    "unary-comma",
    "shadowed-parameter",
    "duplicate-function",
    "other-case",
    "pipeline-return",
    "automatic-variable",
    "unused-parameter",
    "failure-words",
    "silent-catch",
];

/// One place where a lint objects.
#[derive(Debug)]
pub(crate) struct Finding {
    /// A name out of [`RULES`].
    pub(crate) rule: &'static str,
    /// Counted from 1.
    pub(crate) line: usize,
    /// The text that is objected to, cut to one short line.
    pub(crate) text: String,
}

/// A parsed script with what has been found in it.
pub(crate) struct Script<'a> {
    pub(crate) source: &'a str,
    pub(crate) findings: Vec<Finding>,
}

impl Script<'_> {
    /// The text of a node.
    pub(crate) fn text(&self, node: Node<'_>) -> &str {
        &self.source[node.byte_range()]
    }

    /// Notes that `rule` objects to `node`.
    pub(crate) fn object(&mut self, rule: &'static str, node: Node<'_>) {
        let text = self
            .text(node)
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(60)
            .collect();
        self.findings.push(Finding {
            rule,
            line: node.start_position().row + 1,
            text,
        });
    }

    fn object_to_file(&mut self, rule: &'static str, text: &str) {
        self.findings.push(Finding {
            rule,
            line: 1,
            text: text.to_owned(),
        });
    }
}

/// Everything the lints object to in a script.
pub(crate) fn check(bytes: &[u8]) -> Vec<Finding> {
    let source = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    let mut script = Script {
        source: &source,
        findings: Vec::new(),
    };
    if let Some(line) = bytes
        .split(|b| *b == b'\n')
        .position(|line| !line.is_ascii())
    {
        let text =
            "a byte beyond ASCII: 5.1 reads a file without mark in the local code page".to_owned();
        script.findings.push(Finding {
            rule: "ascii",
            line: line + 1,
            text,
        });
    }
    let tree = parse(&source);
    if tree.root_node().has_error() {
        let nodes = descendants(tree.root_node());
        match nodes.iter().find(|n| n.is_error() || n.is_missing()) {
            Some(node) => script.object("syntax", *node),
            None => script.object_to_file("syntax", "the parser refuses it"),
        }
        return script.findings;
    }
    check_preamble(&mut script);
    check_lines(&mut script);
    for node in descendants(tree.root_node()) {
        check_node(&mut script, node);
    }
    crate::names::check(&mut script, tree.root_node());
    script.findings
}

/// The syntax tree of a script.
pub(crate) fn parse(source: &str) -> Tree {
    let mut parser = Parser::new();
    parser
        .set_language(&tree_sitter_pwsh::LANGUAGE.into())
        .expect("the grammar fits the library");
    parser.parse(source, None).expect("no time limit was set")
}

/// The node and everything below it, in the order of the text.
pub(crate) fn descendants(root: Node<'_>) -> Vec<Node<'_>> {
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        found.push(node);
        let mut cursor = node.walk();
        let children: Vec<_> = node.children(&mut cursor).collect();
        open.extend(children.into_iter().rev());
    }
    found
}

/// Whether a node of this kind lies below.
pub(crate) fn holds(node: Node<'_>, kind: &str) -> bool {
    descendants(node).iter().any(|n| n.kind() == kind)
}

/// A line that starts so must exist; a comment does not count.
fn check_preamble(script: &mut Script<'_>) {
    for (rule, start) in [
        ("strict-mode", "Set-StrictMode -Version Latest"),
        ("stop-on-error", "$ErrorActionPreference = 'Stop'"),
        (
            "silent-progress",
            "$ProgressPreference = 'SilentlyContinue'",
        ),
        (
            "output-encoding",
            "[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)",
        ),
    ] {
        if !script.source.lines().any(|line| line.trim() == start) {
            script.object_to_file(rule, start);
        }
    }
}

fn check_lines(script: &mut Script<'_>) {
    for (index, line) in script.source.lines().enumerate() {
        // A space behind the backtick makes it no continuation at all, which is worse.
        if line.trim_end().ends_with('`') {
            let text = line.trim().chars().take(60).collect();
            script.findings.push(Finding {
                rule: "backtick-continuation",
                line: index + 1,
                text,
            });
        }
    }
}

fn check_node(script: &mut Script<'_>, node: Node<'_>) {
    let text = script.text(node).to_lowercase();
    match node.kind() {
        "expandable_string_literal" | "expandable_here_string_literal" => {
            check_string(script, node)
        }
        "try_statement"
            if !holds_directly(node, "catch_clauses")
                && !holds_directly(node, "finally_clause") =>
        {
            script.object("try-without-handler", node);
        }
        "left_assignment_expression"
            if !holds(node, "variable") && !holds(node, "type_literal") =>
        {
            script.object("literal-assignment", node);
        }
        "redirection" if text.starts_with('<') => script.object("input-redirection", node),
        "redirection" => script.object("redirection", node),
        "pipeline_chain_tail" => script.object("chain", node),
        "ternary_expression" => script.object("ternary", node),
        "null_coalesce_expression" => script.object("null-coalescing", node),
        "assignment_operator" if text == "??=" => script.object("null-coalescing", node),
        "member_access" if counts_a_command(node, &text) => script.object("count-of-command", node),
        "variable" if text.starts_with('@') => script.object("splat", node),
        "variable" if text == "$input" || text == "${input}" => {
            script.object("pipeline-input", node)
        }
        "pipeline" if leaks(script, node) => script.object("leaked-output", node),
        // A list that went through a pipeline whole is printed as an object with a
        // "value" and a "Count" by ConvertTo-Json of 5.1.
        "expression_with_unary_operator" if text.starts_with(',') => {
            script.object("unary-comma", node)
        }
        "foreach_statement" if shadows(script, node) => script.object("shadowed-parameter", node),
        // It ends the block for one item, and neither the loop nor the function.
        "flow_control_statement" if text.starts_with("return") && in_a_pipeline(script, node) => {
            script.object("pipeline-return", node)
        }
        "invocation_expression" if text.starts_with("[scriptblock]::create(") => {
            script.object("run-text", node)
        }
        "command" => check_command(script, node),
        "command_parameter" if text.starts_with("-enc") || text == "-e" || text == "-ec" => {
            script.object("encoded-command", node);
        }
        "verbatim_string_characters"
            if (text.starts_with("'-enc") || text.contains(" -enc"))
                // The one that hands a command to another PowerShell as base64.
                && !within(script, node, "Start-Setup") =>
        {
            script.object("encoded-command", node)
        }
        "catch_clause" if is_silent(&text) => script.object("silent-catch", node),
        // Of what Windows throws PowerShell's own words are around it.
        "member_name" if text == "message" && !within(script, node, "Format-Failure") => {
            script.object("failure-words", node)
        }
        "command_parameter" if NEWER_PARAMETERS.contains(&text.as_str()) => {
            script.object("newer-parameter", node)
        }
        _ => {}
    }
}

/// Whether a node lies in the function of this name.
fn within(script: &Script<'_>, node: Node<'_>, name: &str) -> bool {
    let mut up = node.parent();
    while let Some(node) = up {
        if node.kind() == "function_statement" {
            return script.text(node).starts_with(&format!("function {name} "));
        }
        up = node.parent();
    }
    false
}

/// Whether a handler takes every failure for the same thing without saying for what: it
/// has no kind, no comment, and looks at nothing of the failure.
fn is_silent(clause: &str) -> bool {
    let takes_all = !clause
        .trim_start_matches("catch")
        .trim_start()
        .starts_with('[');
    let looks = ["$_.", "failure $_", "throw", "#"];
    takes_all && !looks.iter().any(|mark| clause.contains(mark))
}

/// Parameters that came after 5.1.
const NEWER_PARAMETERS: &[&str] = &[
    "-asarray",
    "-asbytestream",
    "-ashashtable",
    "-enumsasstrings",
    "-parallel",
    "-skipcertificatecheck",
];

/// Under strict mode this throws when the command returns nothing, or one object
/// without such a property.
fn counts_a_command(node: Node<'_>, text: &str) -> bool {
    (text.ends_with(".count") || text.ends_with(".length"))
        && node.child(0).is_some_and(|object| {
            object.kind() == "parenthesized_expression" && holds(object, "command")
        })
}

/// A list's `Add` as a statement: the index that it returns becomes a part of what the
/// function returns.
fn leaks(script: &Script<'_>, node: Node<'_>) -> bool {
    let inner = node
        .named_child(0)
        .filter(|n| n.kind() == "pipeline_chain" && n.named_child_count() == 1)
        .and_then(|n| n.named_child(0))
        .filter(|n| n.kind() == "unary_expression")
        .and_then(|n| n.named_child(0))
        .filter(|n| n.kind() == "invocation_expression");
    let statement = node.parent().is_some_and(|p| p.kind() == "statement_list");
    statement
        && inner.is_some_and(|call| {
            let mut cursor = call.walk();
            call.children(&mut cursor)
                .any(|n| n.kind() == "member_name" && script.text(n).eq_ignore_ascii_case("add"))
        })
}

/// Names know no case: a loop over `$Items` by `$items`, or by any other parameter of
/// the function, puts each item into the parameter, converted to its type.
fn shadows(script: &Script<'_>, node: Node<'_>) -> bool {
    let Some(variable) = node.named_child(0).filter(|n| n.kind() == "variable") else {
        return false;
    };
    let mut up = node.parent();
    while let Some(parent) = up {
        if parent.kind() == "function_statement" {
            return descendants(parent)
                .iter()
                .filter(|n| n.kind() == "script_parameter")
                .flat_map(|n| descendants(*n))
                .filter(|n| n.kind() == "variable")
                .any(|n| script.text(n).eq_ignore_ascii_case(script.text(variable)));
        }
        up = parent.parent();
    }
    false
}

/// Whether a block that a pipeline runs for each item is nearer than any function.
fn in_a_pipeline(script: &Script<'_>, node: Node<'_>) -> bool {
    let mut up = node.parent();
    while let Some(parent) = up {
        match parent.kind() {
            "function_statement" => return false,
            "command" => {
                let text = script.text(parent).to_lowercase();
                return text.starts_with("foreach-object") || text.starts_with("where-object");
            }
            _ => up = parent.parent(),
        }
    }
    false
}

fn holds_directly(node: Node<'_>, kind: &str) -> bool {
    let mut cursor = node.walk();
    node.children(&mut cursor).any(|child| child.kind() == kind)
}

fn check_command(script: &mut Script<'_>, node: Node<'_>) {
    let operator = holds_directly(node, "command_invocation_operator");
    let Some(name) = node.child(u32::from(operator)) else {
        return;
    };
    let name_text = script.text(name).to_lowercase();
    if operator {
        // A program's path lies in a variable of ours; text is never run as code.
        if !is_plain_variable(&name_text) {
            script.object("run-text", node);
        }
        return;
    }
    match name_text.as_str() {
        "invoke-expression" | "iex" | "invoke-command" | "add-type" => {
            script.object("run-text", node)
        }
        "start-process" | "saps" | "start" => script.object("start-process", node),
        alias if ALIASES.contains(&alias) => script.object("alias", node),
        _ => {}
    }
}

fn is_plain_variable(text: &str) -> bool {
    text.strip_prefix('$')
        .is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// The aliases that people type, of those that 5.1 ships.
pub(crate) const ALIASES: &[&str] = &[
    "%", "?", "ac", "cat", "cd", "clc", "clear", "cls", "copy", "cp", "curl", "del", "dir", "echo",
    "erase", "fc", "fl", "foreach", "ft", "gc", "gci", "gcim", "gcm", "gi", "gm", "gp", "gps",
    "group", "gsv", "gv", "gwmi", "h", "icm", "ii", "ipmo", "irm", "iwr", "kill", "ls", "measure",
    "mkdir", "mi", "mount", "move", "mp", "mv", "ni", "nv", "ogv", "popd", "ps", "pushd", "pwd",
    "r", "rd", "ren", "ri", "rm", "rmdir", "rnp", "rp", "sajb", "sal", "sasv", "sc", "select",
    "set", "si", "sl", "sleep", "sls", "sort", "sp", "spps", "spsv", "sv", "tee", "type", "wget",
    "where", "write",
];

/// Scopes and drives that may stand before a colon in a variable's name.
pub(crate) const SCOPES: &[&str] = &[
    "env", "function", "global", "local", "private", "script", "using", "variable",
];

/// `"$ip:$port"` names a variable on a drive called `ip`; `"$item.Name"` prints
/// `$item` and then `.Name`, and `"$item[0]"` likewise.
fn check_string(script: &mut Script<'_>, node: Node<'_>) {
    let text = script.text(node).to_owned();
    let mut rest = text.as_str();
    while let Some(place) = rest.find(['$', '`']) {
        let (mark, after) = rest[place..].split_at(1);
        if mark == "`" {
            rest = after.get(1..).unwrap_or_default();
            continue;
        }
        let end = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        let (name, tail) = after.split_at(end);
        let mut behind = tail.chars();
        match (name.is_empty(), behind.next()) {
            (false, Some(':')) if !SCOPES.contains(&name.to_lowercase().as_str()) => {
                script.object("colon-after-variable", node);
            }
            (false, Some('.')) if behind.next().is_some_and(char::is_alphabetic) => {
                script.object("property-in-string", node);
            }
            (false, Some('[')) => script.object("property-in-string", node),
            _ => {}
        }
        rest = tail;
    }
}
