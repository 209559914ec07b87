//! Whether the distribution keeps running.

use crate::doctor::{
    facts::Facts,
    verdict::{Judged, info, ok, warning},
};

/// When WSL stops a distribution without a terminal.
const STOPS: &str =
    "this distribution is stopped 15 s after its last terminal closes, services or not";

pub(crate) fn idle(facts: &Facts) -> Judged {
    facts.wsl()?;
    let ini = facts
        .wslconfig
        .clone()
        .map_err(|why| info(format!("{STOPS}, unless .wslconfig says otherwise ({why})")))?;
    let ini = ini.unwrap_or_default();
    let endless = |section, key| {
        let value: Option<i64> = ini.get(section, key).and_then(|text| text.parse().ok());
        value.is_some_and(|ms| ms < 0)
    };
    let instance = endless("general", "instanceIdleTimeout");
    let machine = endless("wsl2", "vmIdleTimeout");
    Ok(match (instance, machine, facts.installed) {
        (true, _, _) if facts.knows_idle_timeout() => ok("instanceIdleTimeout keeps it running"),
        (true, _, _) => warning(format!(
            "{STOPS}: instanceIdleTimeout needs WSL 2.5.10 or later"
        ))
        .fix("Run `wsl.exe --update` on Windows, then `wsl.exe --shutdown`"),
        // Its folder exists for every Windows user and every distribution.
        (false, _, true) => info(format!(
            "`wslmesh host install` was run on this Windows; unless it starts this distribution, {STOPS}"
        ))
        .fix("Run `wslmesh host check` to see whether it starts this distribution; else run `wslmesh host install` here, or set instanceIdleTimeout=-1 in the section [general] of %UserProfile%\\.wslconfig, then run `wsl.exe --shutdown` on Windows"),
        (false, true, false) => warning(format!(
            "{STOPS}: vmIdleTimeout keeps the virtual machine, not the distribution"
        )),
        (false, false, false) => warning(STOPS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::tests::table, interop::ini::Ini};

    fn is(facts: &mut Facts, text: &str) {
        facts.wslconfig = Ok(Some(Ini::parse(text)));
    }

    #[test]
    fn idle_distributions() {
        table! { "lifetime-idle";
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "defaults": |f| f.wslconfig = Ok(None) => Warning, "15 s";
            "finite": |f| is(f, "[general]\ninstanceIdleTimeout=60000") => Warning, "15 s";
            "machine alone": |f| is(f, "[wsl2]\nvmIdleTimeout=-1") => Warning, "vmIdleTimeout keeps";
            "old WSL": |f| f.wsl_version = Some("2.5.7.0".into()) => Warning, "needs WSL 2.5.10";
            "installed": |f| { is(f, ""); f.installed = true } => Info, "`wslmesh host install` was run";
            "installed and endless": |f| f.installed = true => Ok, "instanceIdleTimeout";
            "unknown": |f| f.wslconfig = Err("hangs".into()) => Info, "hangs";
        }
    }
}
