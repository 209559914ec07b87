//! Whether the distribution stays.

use super::{
    super::{
        facts::{Facts, Text},
        verdict::{Judged, Verdict},
    },
    system::at_least,
};

/// Seconds after which WSL stops a distribution without a terminal.
const AFTER: &str =
    "15 s after the last terminal closes this distribution is stopped, services or not";

pub(in crate::doctor) fn idle(facts: &Facts) -> Judged {
    let wsl = facts.wsl()?;
    let endless =
        |value: Option<&str>| value.is_some_and(|text| text.parse().is_ok_and(|ms: i64| ms < 0));
    let ini = match &facts.wslconfig {
        Text::Unreadable(why) => {
            return Ok(Verdict::note(format!(
                "{AFTER}, unless .wslconfig says otherwise ({why})"
            )));
        }
        Text::Missing | Text::Content(_) => facts.wslconfig()?,
    };
    let instance = endless(ini.get("general", "instanceIdleTimeout"));
    let machine = endless(ini.get("wsl2", "vmIdleTimeout"));
    let knows = wsl
        .version
        .as_deref()
        .is_none_or(|v| at_least(v, [2, 5, 10]));
    Ok(match (instance, machine, facts.installed) {
        (true, _, _) if knows => Verdict::ok("instanceIdleTimeout keeps it"),
        (true, _, _) => Verdict::warning(format!(
            "{AFTER}: this WSL does not know instanceIdleTimeout, which came with 2.5.10"
        ))
        .remediation("Run `wsl.exe --update` on Windows, then `wsl.exe --shutdown`"),
        // Its folder is there for every user of Windows and every distribution.
        (false, _, true) => Verdict::note(format!(
            "somebody ran `wslmesh host install` on this Windows; unless that starts this distribution, {AFTER}"
        ))
        .remediation("See with `wslmesh host check` whether it starts this distribution; else run `wslmesh host install` here, or set instanceIdleTimeout=-1 in the section [general] of %UserProfile%\\.wslconfig, then `wsl.exe --shutdown` on Windows"),
        (false, true, false) => Verdict::warning(format!(
            "{AFTER}: vmIdleTimeout keeps the virtual machine and not the distribution"
        )),
        (false, false, false) => Verdict::warning(AFTER),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{Check, testing::table},
        interop::ini::Ini,
    };

    fn is(facts: &mut Facts, text: &str) {
        facts.wslconfig = Text::Content(Ini::parse(text));
    }

    #[test]
    fn idle_distributions() {
        table! { Check::LifetimeIdle;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "defaults": |f| f.wslconfig = Text::Missing => Warning, "15 s";
            "finite": |f| is(f, "[general]\ninstanceIdleTimeout=60000") => Warning, "15 s";
            "machine alone": |f| is(f, "[wsl2]\nvmIdleTimeout=-1") => Warning, "vmIdleTimeout keeps";
            "old WSL": |f| f.wsl.version = Some("2.5.7.0".into()) => Warning, "does not know";
            "installed": |f| { is(f, ""); f.installed = true } => Note, "somebody ran `wslmesh host install`";
            "installed and endless": |f| f.installed = true => Ok, "instanceIdleTimeout";
            "unknown": |f| f.wslconfig = Text::Unreadable("hangs".into()) => Note, "hangs";
        }
    }
}
