//! What a new policy changes against the present one.

use super::policy::{Grant, Policy, Ports};

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
    match Ports::option(grant).filter(|_| !kept) {
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
mod tests {
    use super::*;
    use crate::host::setup::policy::VERSION;

    fn policy(ports: &[&str], profiles: &str, logon: bool) -> Policy {
        Policy {
            version: VERSION,
            package: "0.1.0".into(),
            distribution: "Debian".to_owned().try_into().unwrap(),
            logon,
            profiles: profiles.parse().unwrap(),
            grants: ports
                .iter()
                .map(|text| text.parse::<Ports>().unwrap().grant())
                .collect(),
        }
    }

    #[test]
    fn changes_are_shown_line_by_line() {
        let old = policy(&["tcp:2222:22", "tcp:5000-5010"], "domain,private", true);
        assert_eq!(difference(Some(&old), &old), [""; 0]);
        let mut newer = policy(
            &["tcp:2222:22", "udp:51820"],
            "public,domain,private",
            false,
        );
        newer.distribution = "Other".to_owned().try_into().unwrap();
        let expected = [
            "- tcp   5000-5010 -> 5000-5010   on 0.0.0.0         from the local subnet\n    no forward needs it; keep it with --ports tcp:5000-5010",
            "+ udp       51820 -> 51820       on 0.0.0.0         from the local subnet",
            "~ networks: domain, private -> domain, private, public",
            "~ at logon: start the distribution -> nothing",
            "~ distribution: Debian -> Other",
        ];
        assert_eq!(difference(Some(&old), &newer), expected);
        assert_eq!(
            difference(None, &old),
            [
                "+ tcp        2222 -> 22          on 0.0.0.0         from the local subnet",
                "+ tcp   5000-5010 -> 5000-5010   on 0.0.0.0         from the local subnet",
            ]
        );
    }

    #[test]
    fn replaced_grant_needs_no_option() {
        let old = policy(&["tcp:5000-5010"], "domain", true);
        let new = policy(&["tcp:5000-5001"], "domain", true);
        let lines = difference(Some(&old), &new);
        assert_eq!(lines.len(), 2);
        assert!(
            lines.iter().all(|line| !line.contains("--ports")),
            "{lines:?}"
        );
    }

    #[test]
    fn order_of_grants_matters() {
        let old = policy(&["tcp:1", "tcp:2"], "domain", true);
        let new = policy(&["tcp:2", "tcp:1"], "domain", true);
        assert_eq!(
            difference(Some(&old), &new),
            ["~ the same ports in another order"]
        );
    }
}
