//! What a new policy changes against the present one.

use super::policy::{Grant, Policy};

/// The changes, a line each; none where nothing differs that Windows acts on.
/// The package's version is not part of this.
#[must_use]
pub fn difference(old: Option<&Policy>, new: &Policy) -> Vec<String> {
    let before = old.map_or(&[][..], |old| &old.grants);
    let removed = before.iter().filter(|grant| !new.grants.contains(grant));
    let added = new.grants.iter().filter(|grant| !before.contains(grant));
    let mut lines: Vec<String> = removed
        .map(|grant| format!("- {grant}{}", remediation(grant, new)))
        .chain(added.map(|grant| format!("+ {grant}")))
        .collect();
    let Some(old) = old else {
        return lines;
    };
    if lines.is_empty() && old.grants != new.grants {
        lines.push("~ the same ports in another order".to_owned());
    }
    if old.mode != new.mode {
        lines.push(format!("~ mode: {} -> {}", old.mode, new.mode));
    }
    if old.profiles != new.profiles {
        lines.push(format!("~ networks: {} -> {}", old.profiles, new.profiles));
    }
    if old.logon != new.logon {
        lines.push(format!("~ at logon: {} -> {}", logon(old), logon(new)));
    }
    if old.distribution != new.distribution {
        lines.push(format!(
            "~ distribution: {} -> {}",
            old.distribution, new.distribution
        ));
    }
    lines
}

/// How to keep a grant that goes, where an option can and no other grant has it.
fn remediation(grant: &Grant, new: &Policy) -> String {
    let kept = new.grants.iter().any(|other| {
        other.protocol == grant.protocol && other.listen_ports.overlaps(grant.listen_ports)
    });
    match grant.option().filter(|_| !kept) {
        Some(option) => format!("\n    no forward needs it; keep it with {option}"),
        None => String::new(),
    }
}

/// What a logon to Windows does.
fn logon(policy: &Policy) -> &'static str {
    if policy.logon {
        "start the distribution"
    } else {
        "nothing"
    }
}

#[cfg(test)]
mod tests;
