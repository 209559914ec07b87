//! Policies about scripts that are respected.

/// The policy for which a script was not called, as [`command`] prints it:
/// `wslmesh <language mode> <scope>=<policy>,...`; a script that is a file ends with
/// the first two of these words. The two scopes of group policy
/// beat `-ExecutionPolicy` unless they are undefined (about_Execution_Policies).
///
/// [`command`]: crate::host::scripts::Script::command
pub(super) fn find(output: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(output).ok()?;
    let mut words = text.strip_prefix("wslmesh ")?.split_whitespace();
    let (language, scopes) = (words.next()?, words.next().unwrap_or_default());
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    for scope in scopes.split(',') {
        let (name, policy) = scope.split_once('=').unwrap_or_default();
        if ["MachinePolicy", "UserPolicy"].contains(&name)
            && ["AllSigned", "Restricted"].contains(&policy)
        {
            return Some(format!("{name} is {policy}"));
        }
    }
    Some(match language {
        "FullLanguage" => "Windows does not say which policies it has".to_owned(),
        language if plain(language) => format!("language mode {language}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
