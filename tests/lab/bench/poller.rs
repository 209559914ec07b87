//! What runs from cron or a `while sleep` loop: looks every 5 s, then does what
//! the agent does, with the same script on Windows.

use anyhow::Result;
use wslmesh::host::scripts::Script;

use super::node::FILE;
use crate::caller::{SCRIPT, arguments, request};
use crate::interop::POWERSHELL;
use crate::process::Process;
use crate::world::World;

/// Its period, in seconds.
pub(super) const PERIOD: u32 = 5;

const LOOP: &str = r#"
period=$1; file=$2; request=$3; shift 3
old=
while :; do
    address=$(ip -4 addr show eth0 | grep 'inet ' | awk '{print $2}' | cut -d/ -f1)
    if [ -n "$address" ] && [ "$address" != "$old" ]; then
        sed -i "s/^WSL_IP=.*/WSL_IP=\"$address\"/" "$file"
        (cd /mnt/c/Windows/System32 && echo "${request//@/$address}" | "$@" >/dev/null) && old=$address
    fi
    sleep "$period"
done
"#;

/// Starts it.
pub(super) fn start(world: &World) -> Result<Process<'_>> {
    world.write(FILE, "WSL_IP=\"\"\n")?;
    world.write(SCRIPT, Script::Refresh.text())?;
    let arguments = arguments(world, SCRIPT)?;
    let request = request("@", &[(2222, 22)]).to_string();
    let period = PERIOD.to_string();
    let program = if world.binfmt() {
        vec![POWERSHELL]
    } else {
        vec!["/init", POWERSHELL, "powershell.exe"]
    };
    let argv: Vec<&str> = ["bash", "-c", LOOP, "poller", &period, FILE, &request]
        .into_iter()
        .chain(program)
        .chain(arguments.iter().map(String::as_str))
        .collect();
    world.spawn_guest(&argv, &[])
}
