//! docs/doctor.md: the part behind its heading "Checks" is the registry's.

use std::{fmt::Write, fs, path::Path};

use crate::doctor::{CHECKS, Fix, GROUPS};

const HEADING: &str = "## Checks\n";

/// The generated part.
fn generated() -> String {
    let mut page = format!(
        "{HEADING}Made from the registry in `src/doctor/registry.rs`; after a change there: `WSLMESH_WRITE_DOCS=1 cargo test --lib doctor`.\n"
    );
    for group in GROUPS {
        write!(page, "\n### {}\n", group).unwrap();
        for check in CHECKS.iter().filter(|check| check.group == *group) {
            let info = check;
            let fix = match info.fix {
                Fix::None => "",
                Fix::Pass => " (`--fix`: pass)",
                Fix::Files => " (`--fix`: files)",
                Fix::ResolvConf => " (`--fix`: the link)",
            };
            write!(
                page,
                "\n**{}**: {}{fix}\n\n{} {}.\n",
                info.id, info.title, info.why, info.remediation
            )
            .unwrap();
        }
    }
    page
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md")
}

#[test]
fn the_documentation_is_the_registry() {
    let written = fs::read_to_string(path()).unwrap();
    let by_hand = written.split(HEADING).next().unwrap();
    let page = format!("{by_hand}{}", generated());
    if std::env::var_os("WSLMESH_WRITE_DOCS").is_some() {
        fs::write(path(), &page).unwrap();
    } else {
        assert!(
            written == page,
            "docs/doctor.md is not current: WSLMESH_WRITE_DOCS=1 cargo test --lib doctor"
        );
    }
}

#[test]
fn the_list_of_advice_names_checks_that_exist() {
    let written = fs::read_to_string(path()).unwrap();
    let (_, lists) = written
        .split_once("## The advice that this replaces")
        .unwrap();
    let (lists, _) = lists.split_once(HEADING).unwrap();
    let rows = lists.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut named = 0;
    for row in rows {
        let column = row.split('|').nth(2).unwrap();
        for word in column.split('`').skip(1).step_by(2) {
            let is_check = CHECKS.iter().any(|check| check.id == word);
            // Commands and keys of other programs have blanks or other signs.
            let plain = word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            assert!(is_check || !plain, "{word} in: {row}");
            named += usize::from(is_check);
        }
    }
    assert!(named > 60, "only {named}");
}
