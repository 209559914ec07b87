//! Whether the distribution keeps running.

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, info, ok, warning},
    },
    interop::ini::integer,
};

/// How long WSL lets a distribution without a terminal run, unless
/// `instanceIdleTimeout` says otherwise (microsoft/WSL:
/// src/windows/common/WslCoreConfig.h).
const DEFAULT_MS: i32 = 15_000;

/// When that ends.
fn stops(after_ms: i32) -> String {
    let after = f64::from(after_ms) / 1e3;
    format!(
        "this distribution is stopped {after} s after its last terminal closes, services or not"
    )
}

pub(crate) fn idle(facts: &Facts) -> Judged {
    facts.wsl()?;
    let ini = facts.wslconfig.clone().map_err(|why| {
        let stops = stops(DEFAULT_MS);
        info(format!("{stops}, unless .wslconfig says otherwise ({why})"))
    })?;
    let ini = ini.unwrap_or_default();
    let timeout = |name| ini.get(name).and_then(integer);
    let instance = timeout("general.instanceIdleTimeout");
    let endless = instance.is_some_and(|ms| ms < 0);
    let machine = timeout("wsl2.vmIdleTimeout").is_some_and(|ms| ms < 0);
    let knows = facts.knows_idle_timeout();
    let stops = stops(instance.filter(|_| knows && !endless).unwrap_or(DEFAULT_MS));
    Ok(match (endless, machine, facts.installed) {
        (true, _, _) if knows => ok("instanceIdleTimeout keeps it running"),
        (true, _, _) => warning(format!(
            "{stops}: instanceIdleTimeout needs WSL 2.5.10 or later"
        ))
        .fix("Run `wsl.exe --update` on Windows, then `wsl.exe --shutdown`"),
        // Its folder exists for every Windows user and every distribution.
        (false, _, true) => info(format!(
            "`wslmesh host install` was run on this Windows; unless it starts this distribution, {stops}"
        ))
        .fix("Run `wslmesh host check` to see whether it starts this distribution; else run `wslmesh host install` here, or run `wslmesh wslconfig set instanceIdleTimeout -1`, then `wsl.exe --shutdown` on Windows"),
        (false, true, false) => warning(format!(
            "{stops}: vmIdleTimeout keeps the virtual machine, not the distribution"
        )),
        (false, false, false) => warning(stops),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::tests::table, interop::ini::Ini};

    fn is(facts: &mut Facts, text: &str) {
        facts.wslconfig = Ok(Some(Ini::wslconfig(text.as_bytes())));
    }

    #[test]
    fn idle_distributions() {
        table! { "lifetime-idle";
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "defaults": |f| f.wslconfig = Ok(None) => Warning, "15 s";
            "finite": |f| is(f, "[general]\ninstanceIdleTimeout=60000") => Warning, "stopped 60 s";
            "no number": |f| is(f, "[general]\ninstanceIdleTimeout=never") => Warning, "15 s";
            "finite, old WSL": |f| { is(f, "[general]\ninstanceIdleTimeout=60000"); f.wsl_version = Some("2.5.7.0".into()) } => Warning, "15 s";
            "machine alone": |f| is(f, "[wsl2]\nvmIdleTimeout=-1") => Warning, "vmIdleTimeout keeps";
            "old WSL": |f| f.wsl_version = Some("2.5.7.0".into()) => Warning, "needs WSL 2.5.10";
            "installed": |f| { is(f, ""); f.installed = true } => Info, "`wslmesh host install` was run";
            "installed and endless": |f| f.installed = true => Ok, "instanceIdleTimeout";
            "unknown": |f| f.wslconfig = Err("hangs".into()) => Info, "hangs";
        }
    }
}
