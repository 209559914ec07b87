//! Policies that keep a script file from running whatever its caller says.

/// The policy that keeps `host.ps1` from running, as [`POLICIES`] prints it:
/// `wslmesh <language mode> <scope>=<policy>,...`. The two scopes of group policy
/// beat `-ExecutionPolicy` unless they are undefined (about_Execution_Policies).
///
/// [`POLICIES`]: crate::host::scripts::POLICIES
pub(super) fn find(output: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(output).ok()?;
    let mut words = text.strip_prefix("wslmesh ")?.split_whitespace();
    let (language, scopes) = (words.next()?, words.next()?);
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    for scope in scopes.split(',') {
        let (name, policy) = scope.split_once('=')?;
        if ["MachinePolicy", "UserPolicy"].contains(&name)
            && plain(policy)
            && !["Undefined", "Unrestricted", "Bypass"].contains(&policy)
        {
            return Some(format!("{name} is {policy}"));
        }
    }
    (plain(language) && language != "FullLanguage").then(|| format!("language mode {language}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_policies_and_nothing_else() {
        let scopes = "UserPolicy=Undefined,Process=Bypass,CurrentUser=Restricted";
        let table = [
            (
                format!("wslmesh FullLanguage MachinePolicy=Undefined,{scopes}\r\n"),
                None,
            ),
            (
                format!("wslmesh FullLanguage MachinePolicy=AllSigned,{scopes}\r\n"),
                Some("MachinePolicy is AllSigned"),
            ),
            (
                format!("wslmesh FullLanguage MachinePolicy=Unrestricted,{scopes}\n"),
                None,
            ),
            (
                "wslmesh FullLanguage UserPolicy=RemoteSigned\n".to_owned(),
                Some("UserPolicy is RemoteSigned"),
            ),
            (
                format!("wslmesh ConstrainedLanguage MachinePolicy=Undefined,{scopes}\n"),
                Some("language mode ConstrainedLanguage"),
            ),
            (
                "wslmesh \u{1b}[31m MachinePolicy=\u{7},x\n".to_owned(),
                None,
            ),
            ("Die Ausf\u{fc}hrung ist deaktiviert".to_owned(), None),
            (String::new(), None),
        ];
        for (output, expected) in table {
            assert_eq!(find(output.as_bytes()).as_deref(), expected, "{output:?}");
        }
    }
}
