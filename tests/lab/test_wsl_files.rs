//! `wslmesh wslconfig` and `wslconf`: files as people leave them, changed by one line and
//! brought back byte for byte, as cmp(1), diff(1) and iconv(1) see it.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::LIMIT;
use crate::control::Status;
use crate::options::{AGENT, Options};
use crate::process::Output;
use crate::runner::trial_with;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("wsl_files::edit_and_rollback", edit_and_rollback),
        quick("wsl_files::absent_and_closed", absent_and_closed),
        quick("wsl_files::another_program", another_program),
        quick("wsl_files::replaced_while_edited", replaced_while_edited),
        quick("wsl_files::killed_while_edited", killed_while_edited),
        quick("wsl_files::in_place", in_place),
        quick("wsl_files::check_and_show", check_and_show),
        quick("wsl_files::wsl_conf", wsl_conf),
    ]
}

const FILE: &str = "/mnt/c/Users/me/.wslconfig";
const CONF: &str = "/etc/wsl.conf";

/// Runs a command and has it end with this status and say this; lines are joined.
fn says(world: &World, command: &str, status: u8, said: &[&str]) -> Result<Output> {
    let words: Vec<&str> = command.split(' ').collect();
    let output = world.wslmesh(&words)?;
    ensure!(
        output.status == Status::Code(status.into()),
        "{command}: {output:?}"
    );
    let text = format!("{}{}", output.stdout, output.stderr);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in said {
        ensure!(text.contains(part), "{command}: no {part:?} in {text}");
    }
    Ok(output)
}

fn list<'v>(value: &'v Value, pointer: &str) -> Result<&'v Vec<Value>> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.with_context(|| format!("no {pointer}"))
}

/// A file by a line of `sh`, the command that reads it as UTF-8, the lines that are
/// new in it, and what is in them afterwards.
const FILES: [(&str, &str, &str); 11] = [
    (
        r"printf '[wsl2]\nmemory=4GB # half\nnetworkingMode = nat  # was it\n'",
        "cat",
        "networkingMode = mirrored  # was it",
    ),
    (
        r"printf '# mine\r\n[wsl2]\r\nmemory=4GB\r\n\r\n[boot]\r\n'",
        "cat",
        "networkingMode=mirrored\r",
    ),
    (
        r"printf '\357\273\277[wsl2]\r\nnetworkingmode=\042nat\042\r\n'",
        "cat",
        "networkingmode=mirrored\r",
    ),
    (
        r"{ printf '\377\376'; printf '# Gr\303\274\303\237e\r\n[wsl2]\r\nnetworkingMode=nat\r\nswap=0' | iconv -f UTF-8 -t UTF-16LE; }",
        "iconv -f UTF-16 -t UTF-8",
        "networkingMode=mirrored\r",
    ),
    (
        r"{ printf '\377\376'; printf '[wsl2]\r\nswap=0' | iconv -f UTF-8 -t UTF-16LE; }",
        "iconv -f UTF-16 -t UTF-8",
        "networkingMode=mirrored",
    ),
    (r"printf '[wsl2]\nswap=0'", "cat", "networkingMode=mirrored"),
    (
        r"printf '[experimental]\nnetworkingMode=nat\n[wsl2]\nnetworkingMode=none\n'",
        "cat",
        "networkingMode=mirrored",
    ),
    (
        r"printf '# caf\351\n; not a comment\n[wsl2]\nkernel=C:\\wsl\\k\nnetworkingMode=nat'",
        "cat",
        "networkingMode=mirrored",
    ),
    (
        r"printf '[wsl2]\nnetworkingMode=\\\n nat\n'",
        "cat",
        "networkingMode=mirrored",
    ),
    (
        r"printf '[general]\ninstanceIdleTimeout=-1\n'",
        "cat",
        "networkingMode=mirrored",
    ),
    (r"printf ''", "cat", "networkingMode=mirrored\r"),
];

fn edit_and_rollback(world: &World) -> Result<()> {
    for (make, read, line) in FILES {
        world.shell(&format!("{make} >{FILE}; chmod 640 {FILE}; cp -p {FILE} /run/lab/before; sha256sum {FILE} >/run/lab/sum"))?;
        says(
            world,
            "wslconfig set NETWORKINGMODE mirrored",
            0,
            &[
                "networkingMode=mirrored (",
                "`wsl.exe --shutdown`",
                "wslconfig rollback`",
            ],
        )?;
        // Lines with it alone are new, and no other bytes: without them, the old file is
        // left, but for the end of a last line that had none.
        let new = format!(
            "{read} /run/lab/before >/run/lab/old; {read} {FILE} >/run/lab/new; \
             diff --text /run/lab/old /run/lab/new | sed -n 's/^> //p'"
        );
        let new = world.shell(&new).with_context(|| make.to_owned())?;
        let new: Vec<&str> = new.split('\n').filter(|one| !one.is_empty()).collect();
        let expected =
            |one: &&str| *one == line || one.starts_with("[wsl2]") || one.starts_with("swap=0");
        ensure!(
            new.contains(&line) && new.iter().all(expected),
            "{make}: {new:?}"
        );
        ensure!(
            !world
                .guest(&["cmp", "-s", FILE, "/run/lab/before"])?
                .success(),
            "{make}: unchanged"
        );
        // Again there is nothing to do, and to another value and back twice.
        says(
            world,
            "wslconfig set networkingMode mirrored",
            0,
            &["is mirrored already"],
        )?;
        says(
            world,
            "wslconfig set networkingMode nat",
            0,
            &["before: mirrored"],
        )?;
        says(
            world,
            "wslconfig rollback",
            0,
            &["is as it was before the last set"],
        )?;
        says(
            world,
            "wslconfig rollback",
            0,
            &["is as it was before the last set", "`wsl.exe --shutdown`"],
        )?;
        world.shell(&format!(
            "cmp {FILE} /run/lab/before && sha256sum -c --quiet /run/lab/sum"
        ))?;
        let mode = world.shell(&format!("stat -c %a {FILE}; ls -A /mnt/c/Users/me"))?;
        ensure!(mode == "640\n.wslconfig\nAppData\n", "{make}: {mode:?}");
        says(
            world,
            "wslconfig rollback",
            1,
            &["there is no edit of /mnt/c/Users/me/.wslconfig to undo"],
        )?;
    }
    let double = "wslconfig set networkingMode nat";
    world.write(
        FILE,
        "[wsl2]\nnetworkingMode=none\n[experimental]\nnetworkingMode=none\n",
    )?;
    says(
        world,
        double,
        0,
        &[
            "/mnt/c/Users/me/.wslconfig:2:",
            "line 4 sets it again, which WSL ignores",
        ],
    )?;
    // What no shell and no line of the file takes for more than it is.
    let value = "a $(touch /run/lab/touched) `id` \" \\ # b";
    let output = world.wslmesh(&["wslconfig", "set", "kernelCommandLine", value])?;
    ensure!(output.success(), "{output:?}");
    let json = says(world, "wslconfig show --json", 0, &[])?;
    let shown: Value = serde_json::from_str(&json.stdout)?;
    let mut keys = list(&shown, "/keys")?.iter();
    let key = keys
        .find(|key| key.get("key") == Some(&"kernelCommandLine".into()))
        .context("no key")?;
    ensure!(
        key.get("value") == Some(&value.into()) && key.get("line") == Some(&3.into()),
        "{key}"
    );
    ensure!(!world.path("/run/lab/touched").exists());
    Ok(())
}

fn absent_and_closed(world: &World) -> Result<()> {
    let unchanged = |setup: &str, undo: &str, command: &str, said: &[&str]| {
        world.shell(setup)?;
        let output = says(world, command, 1, said)?;
        ensure!(output.stdout.is_empty(), "{output:?}");
        world.shell(undo)
    };
    // Two users of Windows, and no file.
    says(
        world,
        "wslconfig set memory 4GB",
        1,
        &[
            "several users of Windows may be meant (me, other)",
            "--user NAME",
        ],
    )?;
    says(
        world,
        "wslconfig --user stranger set memory 4GB",
        1,
        &["no user's folder \"stranger\"; it has me, other"],
    )?;
    says(
        world,
        "wslconfig set --user ME memory 4GB",
        0,
        &["[wsl2] memory=4GB (new; the default is half"],
    )?;
    ensure!(world.read(FILE)? == "[wsl2]\r\nmemory=4GB\r\n");
    says(
        world,
        "wslconfig rollback",
        0,
        &["was removed: it did not exist before"],
    )?;
    ensure!(!world.path(FILE).exists(), "absent again");
    says(
        world,
        "wslconfig --user me check",
        0,
        &["does not exist: WSL's defaults apply"],
    )?;
    // A name that an editor made.
    world.write("/mnt/c/Users/me/.wslconfig.txt", "[wsl2]\n")?;
    says(
        world,
        "wslconfig --user me check",
        3,
        &[
            "WSL does not read /mnt/c/Users/me/.wslconfig.txt",
            "fix: Rename",
        ],
    )?;

    world.write(FILE, "[wsl2]\nmemory=4GB\n")?;
    let set = "wslconfig set memory 8GB";
    let chmod = |mode| format!("chmod {mode} {FILE}");
    unchanged(
        &chmod("444"),
        &chmod("644"),
        set,
        &["is read-only, and is as it was", "attrib -R"],
    )?;
    let folder = "/mnt/c/Users/me";
    unchanged(
        &format!("mount --bind {folder} {folder}; mount -o remount,bind,ro {folder}"),
        &format!("umount {folder}"),
        set,
        &["file system that is mounted read-only"],
    )?;
    unchanged(
        &format!(
            "mv {FILE} /mnt/c/Users/other/target; ln -s ../other/target {FILE}; chmod 777 {folder}"
        ),
        &format!("rm {FILE}; mv /mnt/c/Users/other/target {FILE}"),
        set,
        &["is a symlink in a folder that other users can write"],
    )?;
    unchanged(
        &format!("mv {FILE} /run/lab/kept; mkfifo {FILE}"),
        &format!("rm {FILE}; mv /run/lab/kept {FILE}"),
        set,
        &["no regular file"],
    )?;
    unchanged(
        "mv /mnt/c/Users /mnt/c/Gone",
        "mv /mnt/c/Gone /mnt/c/Users",
        set,
        &["no Windows drive with users is mounted here"],
    )?;
    ensure!(world.read(FILE)? == "[wsl2]\nmemory=4GB\n");
    // Nothing was done, so there is nothing to undo.
    says(world, "wslconfig rollback", 1, &["there is no edit of"])?;
    for (command, said) in [
        (
            "wslconfig set memroy 4GB",
            "memroy is no key of .wslconfig; perhaps wsl2.memory is meant",
        ),
        (
            "wslconfig set memory 4gb",
            "wsl2.memory takes a size such as 4GB",
        ),
        (
            "wslconfig set systemd true",
            "run `sudo wslmesh wslconf set boot.systemd VALUE`",
        ),
        (
            "wslconfig set networkingMode.excludedInterfaces x",
            "is not a WSL key, although guides name it",
        ),
    ] {
        says(world, command, 1, &[said])?;
    }
    says(world, "wslconfig set memory", 2, &["<VALUE>"])?;
    // UTF-16 that WSL does not read.
    world.shell(&format!(
        "printf '\\376\\377\\0[' >{FILE}; cp {FILE} /run/lab/before"
    ))?;
    says(
        world,
        set,
        1,
        &["the file is in a UTF-16 that WSL does not read; save it as UTF-8"],
    )?;
    world.shell(&format!("cmp {FILE} /run/lab/before"))?;
    Ok(())
}

fn another_program(world: &World) -> Result<()> {
    world.write(FILE, "[wsl2]\nmemory=4GB\n")?;
    says(world, "wslconfig set memory 8GB", 0, &["before: 4GB"])?;
    let theirs = "[wsl2]\nmemory=8GB\nswap=0\n";
    world.write(FILE, theirs)?;
    says(
        world,
        "wslconfig rollback",
        1,
        &["was changed since the last set", "rollback --force"],
    )?;
    ensure!(world.read(FILE)? == theirs);
    says(world, "wslconfig rollback --force", 0, &["is as it was"])?;
    ensure!(world.read(FILE)? == "[wsl2]\nmemory=4GB\n");
    says(world, "wslconfig rollback", 0, &["is as it was"])?;
    ensure!(world.read(FILE)? == theirs, "their change is lost");
    says(world, "wslconfig rollback", 1, &["there is no edit"])?;
    // Removed since.
    says(world, "wslconfig set memory 4GB", 0, &[])?;
    fs::remove_file(world.path(FILE))?;
    says(
        world,
        "wslconfig --user me rollback",
        1,
        &["was changed since"],
    )?;
    says(
        world,
        "wslconfig --user me rollback --force",
        0,
        &["is as it was"],
    )?;
    ensure!(world.read(FILE)? == theirs);
    Ok(())
}

/// A run under strace that stays at each of its calls of this name for a while.
fn slow(call: &str, command: &str) -> String {
    format!(
        "exec strace -f -qq -o /run/lab/trace -e trace={call} -e inject={call}:delay_enter=900000 {AGENT} {command}"
    )
}

/// Waits until the new file is beside the old one.
fn is_written(world: &World) -> Result<()> {
    until("the temporary file", LIMIT, || {
        let entries = fs::read_dir(world.path("/mnt/c/Users/me"))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names = names.filter(|name| name.starts_with(".wslmesh-.wslconfig."));
        Ok(names.next().map(drop))
    })
}

fn replaced_while_edited(world: &World) -> Result<()> {
    world.has_strace()?;
    let theirs = "[wsl2]\nmemory=16GB\n# theirs\n";
    world.write(FILE, "[wsl2]\nmemory=4GB\n")?;
    let set = world.spawn_guest(
        &["sh", "-ec", &slow("fsync", "wslconfig set memory 8GB")],
        &[],
    )?;
    is_written(world)?;
    // As an editor does.
    world.shell(&format!(
        "printf '{theirs}' >/mnt/c/Users/me/new; mv /mnt/c/Users/me/new {FILE}"
    ))?;
    let output = set.finish(4 * LIMIT)?;
    ensure!(
        output.status == Status::Code(1) && output.stderr.contains("another program changed"),
        "{output:?}"
    );
    ensure!(world.read(FILE)? == theirs, "lost: {}", world.read(FILE)?);
    let names = world.shell("ls -A /mnt/c/Users/me")?;
    ensure!(!names.contains("wslmesh-"), "{names}");
    // Run again, as it says: on what is there now.
    says(world, "wslconfig set memory 8GB", 0, &["before: 16GB"])?;
    ensure!(world.read(FILE)? == theirs.replace("16GB", "8GB"));
    says(world, "wslconfig rollback", 0, &[])?;
    ensure!(world.read(FILE)? == theirs);
    Ok(())
}

fn killed_while_edited(world: &World) -> Result<()> {
    world.has_strace()?;
    let old = "[wsl2]\r\nmemory=4GB\r\n";
    world.write(FILE, old)?;
    says(world, "wslconfig set swap 0", 0, &[])?;
    let with_swap = world.read(FILE)?;
    let set = world.spawn_guest(
        &["sh", "-ec", &slow("fsync", "wslconfig set memory 8GB")],
        &[],
    )?;
    is_written(world)?;
    world.shell("pkill -9 -x wslmesh")?;
    set.finish(4 * LIMIT)?;
    ensure!(world.read(FILE)? == with_swap);
    // The edit that was never made is passed over.
    says(world, "wslconfig rollback", 0, &[])?;
    ensure!(world.read(FILE)? == old);
    says(world, "wslconfig set memory 8GB", 0, &[])?;
    let names = world.shell("ls -A /mnt/c/Users/me")?;
    ensure!(!names.contains("wslmesh-"), "{names}");
    says(world, "wslconfig rollback", 0, &[])?;
    ensure!(world.read(FILE)? == old);
    Ok(())
}

/// Nothing is renamed over a mount point: the file is written as it is.
fn in_place(world: &World) -> Result<()> {
    world.write(
        FILE,
        "# a long comment, so that the file gets shorter\n[wsl2]\nmemory=16GB\n",
    )?;
    world.shell(&format!(
        "cp {FILE} /run/lab/before; mount --bind {FILE} {FILE}"
    ))?;
    says(world, "wslconfig set memory 8GB", 0, &["before: 16GB"])?;
    world.shell(&format!("sed s/16GB/8GB/ /run/lab/before | cmp - {FILE}"))?;
    says(world, "wslconfig rollback", 0, &[])?;
    world.shell(&format!("cmp {FILE} /run/lab/before; umount {FILE}"))?;
    Ok(())
}

fn check_and_show(world: &World) -> Result<()> {
    let text = "[wsl2]\nmemroy=4GB\nprocessors=0\nfirewall=off\nnetworkingMode.excludedInterfaces={}\n[boot]\nsystemd=true\n[general]\ninstanceIdleTimeout=-1\ninstanceIdleTimeout=5\n";
    world.write(FILE, text)?;
    let said = [
        "info: /mnt/c/Users/me/.wslconfig:2: WSL ignores [wsl2] memroy (line 2), which it does not know; perhaps [wsl2] memory is meant",
        "fix: Write memory into the section [wsl2], in place of line 2",
        "warning: /mnt/c/Users/me/.wslconfig:3: processors=0 is not a number above 0; WSL takes all processors",
        ":4: WSL rejects [wsl2] firewall (line 4): it expects true or false, and \"off\" is none",
        ":5: line 5: networkingmode.excludedinterfaces is not a WSL key",
        ":7: WSL ignores [boot] systemd (line 7), which is a key of /etc/wsl.conf",
        ":10: [general] instanceIdleTimeout (line 10) repeats line 9, which counts",
    ];
    says(world, "wslconfig check", 3, &said)?;
    let json = says(world, "wslconfig check --json", 3, &[])?;
    let report: Value = serde_json::from_str(&json.stdout)?;
    let lines: Vec<u64> = list(&report, "/problems")?
        .iter()
        .filter_map(|one| one["line"].as_u64())
        .collect();
    ensure!(
        lines == [2, 3, 4, 5, 7, 10] && report.get("file") == Some(&FILE.into()),
        "{report}"
    );
    // The machine's own figures, by other programs.
    let mib = world.shell("awk '/^MemTotal/ { print int($2 / 1024) \" MiB\" }' /proc/meminfo; getconf _NPROCESSORS_ONLN")?;
    let mut figures = mib.lines();
    let (memory, processors) = (
        figures.next().context("no memory")?,
        figures.next().context("no processors")?,
    );
    let shown = says(
        world,
        "wslconfig show",
        0,
        &[
            "firewall true default, line 4 is rejected",
            "instanceIdleTimeout -1 line 9",
        ],
    )?;
    let line = |key: &str| {
        let line = shown
            .stdout
            .lines()
            .find(|line| line.trim_start().starts_with(key));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let wanted = [
        (
            "memory ",
            format!("memory half of Windows' memory default in force: {memory}"),
        ),
        (
            "processors ",
            format!("processors 0 line 3 in force: {processors}"),
        ),
        (
            "networkingMode ",
            "networkingMode nat default in force: nat".to_owned(),
        ),
    ];
    for (key, wanted) in wanted {
        ensure!(
            line(key).as_deref() == Some(wanted.as_str()),
            "{wanted}: {}",
            shown.stdout
        );
    }
    // Seed: memory, processors and swap of a guide, on this machine.
    world.write(FILE, "[wsl2]\nmemory=900TB\nprocessors=4000\nswap=900TB\n")?;
    let in_force = format!("memory=900TB is configured, and {memory} of memory are in force");
    says(
        world,
        "wslconfig check",
        0,
        &[
            &in_force,
            "swap=900TB is configured",
            "processors=4000 is configured",
        ],
    )?;
    world.write(FILE, "[wsl2]\nnetworkingMode=nat\n")?;
    says(
        world,
        "wslconfig check",
        0,
        &["/mnt/c/Users/me/.wslconfig: fine (1 key)"],
    )?;
    Ok(())
}

fn wsl_conf(world: &World) -> Result<()> {
    let files = [
        (
            "[boot]\nsystemd=false # for now\n",
            "[boot]\nsystemd=true # for now\n",
        ),
        (
            "# mine\n[network]\r\ngenerateHosts=false",
            "# mine\n[network]\r\ngenerateHosts=false\r\n[boot]\r\nsystemd=true",
        ),
        ("", "[boot]\nsystemd=true\n"),
    ];
    for (before, after) in files {
        world.write(CONF, before)?;
        world.shell(&format!("cp -p {CONF} /run/lab/before"))?;
        says(
            world,
            "wslconf set systemd true",
            0,
            &[
                "/etc/wsl.conf:",
                "`wsl.exe --terminate ",
                "ends this distribution",
            ],
        )?;
        ensure!(world.read(CONF)? == after, "{}", world.read(CONF)?);
        says(world, "wslconf check", 0, &["/etc/wsl.conf: fine"])?;
        says(
            world,
            "wslconf show",
            0,
            &["systemd true line", "umask 022 default"],
        )?;
        says(
            world,
            "wslconf rollback",
            0,
            &["is as it was before the last set"],
        )?;
        world.shell(&format!("cmp {CONF} /run/lab/before"))?;
    }
    fs::remove_file(world.path(CONF))?;
    says(world, "wslconf set boot.systemd true", 0, &[])?;
    says(world, "wslconf rollback", 0, &["was removed"])?;
    ensure!(!world.path(CONF).exists());
    // WSL stops reading before what would be set.
    let broken = "[network]\nstatic_ip=1\n[boot]\n";
    world.write(CONF, broken)?;
    says(
        world,
        "wslconf check",
        3,
        &["WSL stops reading at line 2 (static_ip=1)"],
    )?;
    says(
        world,
        "wslconf set systemd true",
        1,
        &[
            "/etc/wsl.conf is as it was",
            "stops reading the file at line 2",
        ],
    )?;
    ensure!(world.read(CONF)? == broken);
    says(
        world,
        "wslconf set enabled true",
        1,
        &["name one of automount.enabled, fileServer.enabled"],
    )?;
    says(
        world,
        "wslconf set memory 4GB",
        1,
        &["run `wslmesh wslconfig set wsl2.memory VALUE`"],
    )?;
    // Two runs at a time: both are made.
    world.write(CONF, "")?;
    let both = format!(
        "{AGENT} wslconf set boot.command a & {AGENT} wslconf set boot.initTimeout 5; wait"
    );
    world.shell(&both)?;
    let text = world.read(CONF)?;
    ensure!(
        text.contains("command=a\n") && text.contains("initTimeout=5\n"),
        "{text}"
    );
    says(world, "wslconf rollback", 0, &[])?;
    says(world, "wslconf rollback", 0, &[])?;
    ensure!(world.read(CONF)?.is_empty());
    Ok(())
}
