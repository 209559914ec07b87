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
mod tests;
