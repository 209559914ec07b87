//! Names in a script: commands, types, members, variables and the parameters of the
//! script's own functions. All lists are positive, because the script cannot run
//! here: a name that is not listed is a finding, and so is a known one that touches
//! Windows outside the functions that are meant for it.

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::Node;

use crate::known::{
    AUTOMATIC, COM_MEMBERS, COM_OBJECTS, MEMBERS, NOT_TO_SET, PURE_COMMANDS, PURE_TYPES,
    SPOKEN_FOR, WINDOWS_COMMANDS, WINDOWS_TYPES,
};
use crate::lints::{ALIASES, SCOPES, Script, descendants};
use crate::setup_names as setup;

/// One function of the script: its parameters, lower case with a dash.
type Functions = BTreeMap<String, BTreeSet<String>>;

/// Adds what the names in the script give reason for.
pub(crate) fn check(script: &mut Script<'_>, root: Node<'_>) {
    let nodes = descendants(root);
    let functions = functions(script, &nodes);
    let keys = keys(script, &nodes);
    let mut called = BTreeSet::new();
    for node in &nodes {
        if touches(script, *node, &functions, &keys, &mut called) && !at_boundary(script, *node) {
            script.object("windows-boundary", *node);
        }
    }
    check_variables(script, &nodes);
    check_functions(script, &nodes);
    for node in nodes.iter().filter(|n| n.kind() == "function_name") {
        if !called.contains(&script.text(*node).to_lowercase()) {
            script.object("unused-function", *node);
        }
    }
}

/// Objects to unknown names in a node; true when what it names touches Windows.
fn touches(
    script: &mut Script<'_>,
    node: Node<'_>,
    functions: &Functions,
    keys: &BTreeSet<String>,
    called: &mut BTreeSet<String>,
) -> bool {
    match node.kind() {
        "command" => check_command(script, node, functions, called),
        "type_name" if node.parent().is_some_and(|p| p.kind() != "type_name") => {
            let name = script.text(node).to_lowercase();
            check_type(script, node, &name)
        }
        "member_name" => {
            let name = script.text(node).trim_matches('\'').to_lowercase();
            let known = [MEMBERS, COM_MEMBERS, setup::MEMBERS]
                .iter()
                .any(|list| list.contains(&name.as_str()));
            if !known && !keys.contains(&name) {
                script.object("unknown-member", node);
            }
            false
        }
        // The inherited environment is the user's; the module path is only ever set.
        "variable" => {
            let name = script.text(node).to_lowercase();
            name.starts_with("$env:") && name != "$env:psmodulepath"
        }
        _ => false,
    }
}

/// What the functions of a script call, and which of them name Windows.
#[derive(Default)]
pub(crate) struct Graph {
    /// Each function with those that it calls, in lower case.
    pub(crate) calls: BTreeMap<String, BTreeSet<String>>,
    /// Functions that name a type, a command or an object of Windows.
    pub(crate) touching: BTreeSet<String>,
}

impl Graph {
    /// Everything that a call of `root` can come to without going through `cut`.
    pub(crate) fn reached(&self, root: &str, cut: &BTreeSet<String>) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![root.to_lowercase()];
        while let Some(name) = open.pop() {
            if let Some(calls) = self.calls.get(&name)
                && !cut.contains(&name)
                && seen.insert(name)
            {
                open.extend(calls.iter().cloned());
            }
        }
        seen
    }
}

/// The graph of a script that the parser takes.
pub(crate) fn graph(source: &str) -> Graph {
    let tree = crate::lints::parse(source);
    let mut script = Script {
        source,
        findings: Vec::new(),
    };
    let all = descendants(tree.root_node());
    let functions = functions(&script, &all);
    let mut graph = Graph::default();
    for function in all.iter().filter(|n| n.kind() == "function_statement") {
        let inside = descendants(*function);
        let name = inside.iter().find(|n| n.kind() == "function_name");
        let name = name
            .map(|n| script.text(*n).to_lowercase())
            .unwrap_or_default();
        let mut called = BTreeSet::new();
        for node in inside {
            if touches(&mut script, node, &functions, &BTreeSet::new(), &mut called) {
                graph.touching.insert(name.clone());
            }
        }
        graph.calls.insert(name, called);
    }
    graph
}

fn functions(script: &Script<'_>, nodes: &[Node<'_>]) -> Functions {
    let mut found = Functions::new();
    for function in nodes.iter().filter(|n| n.kind() == "function_statement") {
        let inside = descendants(*function);
        let Some(name) = inside.iter().find(|n| n.kind() == "function_name") else {
            continue;
        };
        // Only the function's own list, and not that of a script block inside it.
        let list = inside.iter().find(|n| {
            n.kind() == "param_block"
                && n.parent()
                    .and_then(|p| p.parent())
                    .is_some_and(|p| p.id() == function.id())
        });
        let parameters = list
            .map(|list| parameters(script, *list))
            .unwrap_or_default();
        found.insert(script.text(*name).to_lowercase(), parameters);
    }
    found
}

fn parameters(script: &Script<'_>, list: Node<'_>) -> BTreeSet<String> {
    descendants(list)
        .iter()
        .filter(|n| n.kind() == "variable")
        .map(|n| script.text(*n).to_lowercase().replacen('$', "-", 1))
        .collect()
}

/// Names that the script gives to entries of its tables, and the fields it reads
/// from a request: those are checked against the contract elsewhere.
fn keys(script: &Script<'_>, nodes: &[Node<'_>]) -> BTreeSet<String> {
    let defined = nodes.iter().filter(|n| n.kind() == "key_expression");
    let asked = nodes
        .iter()
        .filter(|n| n.kind() == "command" && script.text(**n).starts_with("Assert-Fields"));
    let asked = asked
        .flat_map(|n| descendants(*n))
        .filter(|n| n.kind() == "verbatim_string_characters");
    defined
        .copied()
        .chain(asked)
        .map(|n| script.text(n).trim().trim_matches('\'').to_lowercase())
        .collect()
}

/// Objects to unknown names; true when the command touches Windows.
fn check_command(
    script: &mut Script<'_>,
    node: Node<'_>,
    functions: &Functions,
    called: &mut BTreeSet<String>,
) -> bool {
    let mut cursor = node.walk();
    let children: Vec<_> = node.children(&mut cursor).collect();
    let Some(name) = children.iter().find(|n| n.kind() == "command_name") else {
        return true;
    };
    let name = script.text(*name).to_lowercase();
    if let Some(parameters) = functions.get(&name) {
        let passed: BTreeSet<String> = children
            .iter()
            .filter(|n| n.kind() == "command_elements")
            .flat_map(|n| {
                let mut cursor = n.walk();
                n.children(&mut cursor).collect::<Vec<_>>()
            })
            .filter(|n| n.kind() == "command_parameter")
            .map(|n| script.text(n).to_lowercase())
            .collect();
        if passed != *parameters {
            script.object("own-parameters", node);
        }
        called.insert(name);
        return false;
    }
    if name == "new-object" {
        if let Some(created) = com_object(script, &children) {
            if !COM_OBJECTS.contains(&created.as_str()) {
                script.object("com-object", node);
            }
            return true;
        }
        let token = descendants(node)
            .into_iter()
            .find(|n| n.kind() == "generic_token");
        let created = token
            .map(|n| script.text(n).to_lowercase())
            .unwrap_or_default();
        return check_type(script, node, &created);
    }
    if WINDOWS_COMMANDS.contains(&name.as_str()) || setup::COMMANDS.contains(&name.as_str()) {
        return true;
    }
    let known = [PURE_COMMANDS, SPOKEN_FOR, ALIASES]
        .iter()
        .any(|list| list.contains(&name.as_str()));
    if !known {
        script.object("unknown-command", node);
    }
    false
}

/// What a `New-Object -ComObject` makes, in lower case; empty where that is no plain
/// text in single quotes.
fn com_object(script: &Script<'_>, children: &[Node<'_>]) -> Option<String> {
    let inside: Vec<_> = children.iter().flat_map(|n| descendants(*n)).collect();
    inside.iter().find(|n| {
        n.kind() == "command_parameter" && script.text(**n).to_lowercase().starts_with("-com")
    })?;
    let name = inside
        .iter()
        .find(|n| n.kind() == "verbatim_string_characters");
    Some(name.map_or_else(String::new, |n| {
        script.text(*n).trim_matches('\'').to_lowercase()
    }))
}

/// Objects to an unknown type; true when the type reaches out of the process.
fn check_type(script: &mut Script<'_>, node: Node<'_>, name: &str) -> bool {
    let pure = PURE_TYPES.contains(&name) || setup::PURE_TYPES.contains(&name);
    let windows = WINDOWS_TYPES.contains(&name) || setup::WINDOWS_TYPES.contains(&name);
    if !pure && !windows {
        script.object("unknown-type", node);
    }
    windows
}

/// The later of two functions of one name takes the place of the former; a name in
/// another case works and hides from a search; a parameter that nothing reads is a
/// leftover.
fn check_functions(script: &mut Script<'_>, nodes: &[Node<'_>]) {
    let mut spelt: BTreeMap<String, String> = BTreeMap::new();
    for node in nodes.iter().filter(|n| n.kind() == "function_name") {
        let name = script.text(*node).to_owned();
        if spelt.insert(name.to_lowercase(), name).is_some() {
            script.object("duplicate-function", *node);
        }
    }
    for node in nodes.iter().filter(|n| n.kind() == "command_name") {
        let name = script.text(*node);
        if spelt
            .get(&name.to_lowercase())
            .is_some_and(|as_made| as_made != name)
        {
            script.object("other-case", *node);
        }
    }
    for function in nodes.iter().filter(|n| n.kind() == "function_statement") {
        let inside = descendants(*function);
        let made = inside.iter().filter(|n| n.kind() == "script_parameter");
        let made: Vec<_> = made
            .filter_map(|n| descendants(*n).into_iter().find(|n| n.kind() == "variable"))
            .collect();
        for parameter in made {
            let name = plain_name(script.text(parameter));
            let uses = inside
                .iter()
                .filter(|n| n.kind() == "variable" && plain_name(script.text(**n)) == name);
            if uses.count() == 1 {
                script.object("unused-parameter", parameter);
            }
        }
    }
}

/// Strict mode throws where a variable is read that was never set; a variable of
/// another function would be seen too, which no script should rely on.
fn check_variables(script: &mut Script<'_>, nodes: &[Node<'_>]) {
    let mut known: BTreeMap<Option<usize>, BTreeSet<String>> = BTreeMap::new();
    for node in nodes.iter().filter(|n| n.kind() == "variable" && sets(**n)) {
        known
            .entry(home(*node))
            .or_default()
            .insert(plain_name(script.text(*node)));
    }
    for node in nodes.iter().filter(|n| n.kind() == "variable" && sets(**n)) {
        let name = plain_name(script.text(*node));
        if NOT_TO_SET.contains(&name.as_str()) {
            script.object("automatic-variable", *node);
        }
    }
    let nothing = BTreeSet::new();
    let everywhere = known.get(&None).unwrap_or(&nothing).clone();
    for node in nodes.iter().filter(|n| n.kind() == "variable") {
        let name = plain_name(script.text(*node));
        let here = known.get(&home(*node)).unwrap_or(&nothing);
        let scope = name
            .trim_start_matches('$')
            .split_once(':')
            .map(|(scope, _)| scope);
        let fine = AUTOMATIC.contains(&name.as_str())
            || name == "$input" // which has a lint of its own
            || scope == Some("env")
            || here.contains(&name)
            || everywhere.contains(&name);
        let foreign_scope = scope.is_some_and(|scope| !SCOPES.contains(&scope));
        if !fine && !foreign_scope && !name.starts_with('@') {
            script.object("unset-variable", *node);
        }
    }
}

fn plain_name(text: &str) -> String {
    text.to_lowercase().replace("${", "$").replace('}', "")
}

/// The function a node lies in, by its place; none for the script itself.
fn home(node: Node<'_>) -> Option<usize> {
    let mut up = Some(node);
    while let Some(node) = up {
        if node.kind() == "function_statement" {
            return Some(node.start_byte());
        }
        up = node.parent();
    }
    None
}

/// Whether a node lies in a function whose noun begins with "Win": the only ones that
/// may name what reaches out of the process.
fn at_boundary(script: &Script<'_>, node: Node<'_>) -> bool {
    let Some(start) = home(node) else {
        return false;
    };
    let rest = &script.source[start..];
    let name = rest.split_whitespace().nth(1).unwrap_or_default();
    name.split_once("-Win")
        .is_some_and(|(_, noun)| !noun.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// Whether this is where a variable gets its value: a parameter, the variable of a
/// loop, or all of an assignment's left side.
fn sets(node: Node<'_>) -> bool {
    let mut up = node.parent();
    while let Some(parent) = up {
        match parent.kind() {
            "script_parameter" | "left_assignment_expression" => return true,
            "foreach_statement" => {
                return parent.child_by_field_name("variable").or(parent.child(2)) == Some(node);
            }
            "element_access"
            | "member_access"
            | "invocation_expression"
            | "statement_block"
            | "command" => return false,
            _ => up = parent.parent(),
        }
    }
    false
}
