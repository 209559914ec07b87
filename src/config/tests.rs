//! What a user may write, and the errors for what is wrong.

mod files;
mod ports;

use std::{
    fs,
    num::NonZeroU16,
    os::unix::fs::{PermissionsExt, lchown, symlink},
    path::PathBuf,
};

use super::*;
use crate::model::{Dependent, Mode, SysctlKey};

/// Loads one file; on failure the message with the folder's name taken out.
fn load(text: &[u8]) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    fs::write(&path, text).unwrap();
    let shown = format!("{}/", folder.path().display());
    Settings::load(&Source::File(path)).map_err(|error| error.to_string().replace(&shown, ""))
}

fn refused(text: &str) -> String {
    load(text.as_bytes()).unwrap_err()
}

#[test]
fn empty_file_means_defaults() {
    let settings = load(b"").unwrap();
    assert_eq!(
        (settings.mtu, settings.underlay, settings.backend),
        (1280, Underlay::Raise, Backend::Auto)
    );
    assert_eq!(settings.keepalive, NonZeroU16::new(25));
    assert_eq!(
        settings.config_file,
        PathBuf::from("/etc/wslmesh/wsl-network.conf")
    );
    assert!(
        settings
            .sysctls
            .contains_key(&SysctlKey::parse("net.core.rmem_max").unwrap())
    );
}

#[test]
fn shown_settings_read_back_equal() {
    let text = r#"
        [network]
        interface = "{6B29FC40-CA47-1067-B31D-00DD010662DA}"
        settle = "75ms"
        [mtu]
        underlay = "lower-tunnel"
        [sysctl]
        "net.core.rmem_max" = 1
        "net.ipv4.tcp_rmem" = "1 2 3"
        "net.ipv4.tcp_wmem" = false
        [dependents]
        units = ["nginx", { name = "wg-quick@wg0.service", action = "restart" }, 'dev-x\\x2dy.swap', { name = "a", on = ["mesh"] }]
        on = ["mesh", "address"]
        hook-timeout = "1500ms"
        [[forward]]
        name = "ssh"
        protocol = "tcp"
        listen-port = 2222
        connect-port = 22
    "#;
    let mut first = load(text.as_bytes()).unwrap();
    let mut second = load(first.to_string().as_bytes()).unwrap();
    // tcp_wmem was switched off, and a file cannot say that by being silent.
    second
        .sysctls
        .remove(&SysctlKey::parse("net.ipv4.tcp_wmem").unwrap());
    (first.files, second.files) = (Vec::new(), Vec::new());
    assert_eq!(first, second);
    assert_eq!(
        first.interface,
        Interface::Guid("6b29fc40-ca47-1067-b31d-00dd010662da".into())
    );
}

#[test]
fn errors_name_place_key_and_fix() {
    let forward =
        |lines: &str| format!("[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\n{lines}\n");
    let table = [
        (
            "[network]\ninteface = \"eth0\"\n".to_owned(),
            "w.toml:2:1: unknown key `inteface` in [network]: did you mean `interface`?",
        ),
        (
            "[netwrok]\n".to_owned(),
            "w.toml:1:2: unknown key `netwrok` at the top of the file: did you mean `network`?",
        ),
        (
            "[mtu]\nkeepalive = 3\n".to_owned(),
            "w.toml:2:1: unknown key `keepalive` in [mtu]: it belongs in [wireguard]",
        ),
        (
            "[host]\nqqqqqqqqqq = 1\n".to_owned(),
            "w.toml:2:1: unknown key `qqqqqqqqqq` in [host]: known are backend",
        ),
        (
            "[mtu]\nvalue = \"big\"\n".to_owned(),
            "w.toml:2:9: mtu.value: invalid type: string \"big\", expected a number from 576 to 65535",
        ),
        (
            "[mtu]\nvalue = 575\n".to_owned(),
            "w.toml:2:9: mtu.value: 575 is no MTU: write a number from 576 to 65535",
        ),
        (
            "[wireguard]\nkeepalive = 65536\n".to_owned(),
            "w.toml:2:13: wireguard.keepalive: 65536 is no keepalive in seconds: write a number from 0 to 65535",
        ),
        (
            "[network]\nsettle = \"1 day\"\n".to_owned(),
            "w.toml:2:10: network.settle: \"1 day\" is no settle time: write \"auto\", or \"0ms\" to \"10s\" such as \"50ms\" or \"1s\"",
        ),
        (
            "[network]\nconfig-file = \"x.conf\"\n".to_owned(),
            "w.toml:2:15: network.config-file: x.conf is not an absolute path: begin it with /",
        ),
        (
            "[sysctl]\nnet.core.rmem_max = 1\n".to_owned(),
            "is no parameter: put the whole name in quotes",
        ),
        (
            "[sysctl]\n\"vm.swappiness\" = 1\n".to_owned(),
            "only parameters below net. are set here",
        ),
        (
            "[sysctl]\n\"net.core.rmem_max\" = true\n".to_owned(),
            "or false to leave the parameter alone",
        ),
        (
            "[sysctl]\n\"net.core.rmem_max\" = \"1\\n2\"\n".to_owned(),
            "one line of at most 256 plain characters",
        ),
        (
            "[mtu]\ninterfaces = [\"a b\"]\n".to_owned(),
            "\"a b\" can never match an interface",
        ),
        (
            "[host]\nbackend = \"netsh\"\n".to_owned(),
            "unknown variant `netsh`, expected one of `portproxy`, `relay`, `tunnel`, `auto`, `none`",
        ),
        (
            forward("listen-port = 0"),
            "w.toml:4:15: forward.listen-port: 0 is no port: write a number from 1 to 65535",
        ),
        (
            forward("listen-port = 65536"),
            "w.toml:4:15: forward.listen-port: 65536 is no port: write a number from 1 to 65535",
        ),
        (forward("listen-port = -1"), "-1 is no port"),
        (
            forward("listen-port = \"8010-8000\""),
            "w.toml:4:15: forward.listen-port: \"8010-8000\" is no range of ports: write the lower number first",
        ),
        (
            forward("listen-port = \"\""),
            "w.toml:4:15: forward.listen-port: \"\" is no port: write a number from 1 to 65535, or a range such as \"8000-8010\"",
        ),
        (
            forward("listen-port = \"8000-\""),
            "w.toml:4:15: forward.listen-port: \"\" is no port: write a number from 1 to 65535",
        ),
        (forward("listen-port = \"0-5\""), "\"0\" is no port"),
        (
            forward("listen-port = \"65530-65536\""),
            "\"65536\" is no port",
        ),
        (
            forward("listen-port = [8000, 8010]"),
            "w.toml:4:15: forward.listen-port: invalid type: sequence, expected a number from 1 to 65535, or a range such as \"8000-8010\"",
        ),
        (
            forward("listen-port = \"8000-8010\"\nconnect-port = \"9000-9009\""),
            "w.toml:5:16: forward.connect-port: 9000-9009 is 10 ports, and listen-port 8000-8010 is 11 ports: write as many, or leave connect-port out for the same ones",
        ),
        (
            forward("listen-port = \"8000-8010\"\nconnect-port = 80"),
            "w.toml:5:16: forward.connect-port: 80 is 1 port, and listen-port 8000-8010 is 11 ports",
        ),
        (
            format!(
                "{}{}",
                forward("listen-port = 8005"),
                forward("listen-port = \"8000-8010\"").replace("ssh", "web")
            ),
            "w.toml:5:1: forward \"web\": listen-port 8000-8010 tcp overlaps listen-port 8005 of forward \"ssh\" at w.toml:1; choose another listen-port",
        ),
        (
            format!(
                "{}{}",
                forward("listen-port = 22"),
                forward("listen-port = \"1001-2000\"").replace("ssh", "web")
            ),
            "w.toml:5:1: forward \"web\": with its 1000 ports all forwards together have 1001, and 1000 is the most: shorten a listen-port, or remove forwards",
        ),
        (forward(""), "missing field `listen-port`"),
        (
            forward("listen-port = 1\nlisten-address = \"[::]\""),
            "w.toml:5:18: forward.listen-address: \"[::]\" has brackets: write \"::\"",
        ),
        (
            format!(
                "{}{}",
                forward("listen-port = 22"),
                forward("listen-port = 23")
            ),
            "w.toml:5:1: forward \"ssh\": the name is taken at w.toml:1; choose another",
        ),
        (
            format!(
                "{}[[forward]]\nname = \"two\"\nprotocol = \"tcp\"\nlisten-address = \"127.0.0.1\"\nlisten-port = 22\n",
                forward("listen-port = 22")
            ),
            "w.toml:5:1: forward \"two\": listen-port 22 tcp is taken by forward \"ssh\" at w.toml:1; choose another listen-port",
        ),
        (
            format!(
                "{}listen-address = \"::\"\n{}listen-address = \"127.0.0.1\"\n",
                forward("listen-port = 22"),
                forward("listen-port = 22").replace("ssh", "two")
            ),
            "w.toml:6:1: forward \"two\": listen-port 22 tcp is taken by forward \"ssh\" at w.toml:1; choose another listen-port",
        ),
        (
            format!(
                "{}[host]\nbackend = \"portproxy\"\n",
                forward("listen-port = 22").replace("tcp", "udp")
            ),
            "Windows' portproxy is TCP only; set protocol = \"tcp\"",
        ),
        (
            forward("listen-port = 22\nbackend = \"portproxy\"").replace("tcp", "udp"),
            "Windows' portproxy is TCP only; set protocol = \"tcp\"",
        ),
        (
            forward("listen-port = 22\nproxy-protocol = \"v1\""),
            "w.toml:5:18: forward.proxy-protocol: unknown variant `v1`, expected `v2`",
        ),
        (
            forward("listen-port = 22\nproxy-protocol = \"v2\"").replace("tcp", "udp"),
            "w.toml:1:1: forward \"ssh\": proxy-protocol is for TCP: leave it out, or set protocol = \"tcp\"",
        ),
        (
            forward("listen-port = 22\nproxy-protocol = \"v2\"\nbackend = \"portproxy\""),
            "Windows' portproxy writes no PROXY header: leave proxy-protocol out, or set backend = \"relay\" in this forward",
        ),
        (
            format!(
                "{}[host]\nbackend = \"portproxy\"\n",
                forward("listen-port = 22\nproxy-protocol = \"v2\"")
            ),
            "Windows' portproxy writes no PROXY header",
        ),
        (
            forward("listen-port = 22\nconnect-address = \"0.0.0.0\""),
            "w.toml:5:19: forward.connect-address: 0.0.0.0 is not a loopback address: write 127.0.0.1 for a service that listens there alone",
        ),
        (
            forward("listen-port = 22\nconnect-address = \"::1\""),
            "::1: this key takes IPv4 loopback alone: let the service listen on 127.0.0.1",
        ),
        (
            forward("listen-port = 22\nconnect-address = \"localhost\""),
            "\"localhost\" is not an address: write 127.0.0.1, or leave the key out",
        ),
        (
            forward("listen-port = 22\nbackend = \"none\""),
            "a forward's backend is \"portproxy\", \"relay\", \"tunnel\" or \"auto\"; remove the [[forward]] instead",
        ),
        (
            "[host]\nbackend = \"tunnel\"\n".to_owned(),
            "w.toml:2:11: host.backend: \"tunnel\" is for single forwards: set backend = \"tunnel\" in each [[forward]]",
        ),
        (
            forward("listen-port = 22\nbackend = \"tunnel\"\nproxy-protocol = \"v2\""),
            "w.toml:1:1: forward \"ssh\": the tunnel writes no PROXY header: leave proxy-protocol out",
        ),
        (
            forward("listen-port = 22\nbackend = \"tunnel\"\nconnect-address = \"127.0.0.1\""),
            "w.toml:1:1: forward \"ssh\": the tunnel leads to this distribution's address in it, 192.168.127.2",
        ),
        ("[network\n".to_owned(), "w.toml:1:"),
        (
            "[dependents]\nunit = []\n".to_owned(),
            "w.toml:2:1: unknown key `unit` in [dependents]: did you mean `units`?",
        ),
        (
            "[dependents]\nunits = [\"a b\"]\n".to_owned(),
            "w.toml:2:10: dependents.units: \"a b\": a unit's name has letters, digits and : - _ . \\ @ only",
        ),
        (
            "[dependents]\nunits = [\n  \"a\",\n  { name = \"wg-quick@\" },\n]\n".to_owned(),
            "w.toml:4:3: dependents.units: \"wg-quick@\": a template alone cannot run",
        ),
        (
            "[dependents]\nunits = [\"wslmesh\"]\n".to_owned(),
            "dependents.units: \"wslmesh\" is the agent itself, which would restart itself for ever: leave it out",
        ),
        (
            "[dependents]\nunits = [\n  { name = \"a\", acton = \"restart\" },\n]\n".to_owned(),
            "w.toml:3:3: dependents.units: unknown key `acton` of a unit: did you mean `action`?",
        ),
        (
            "[dependents]\nunits = [{ name = \"a\", action = \"kill\" }]\n".to_owned(),
            "dependents.units: \"kill\" is no action: write \"reload-or-restart\", \"reload\" or \"restart\"",
        ),
        (
            "[dependents]\nunits = [{ name = \"a\", on = [\"tunnel\"] }]\n".to_owned(),
            "w.toml:2:29: dependents.units: \"tunnel\" is no event: write \"address\", \"mesh\" or both",
        ),
        (
            "[dependents]\nunits = [{ name = \"wg-quick@wg0\", on = [\"mesh\"] }]\n".to_owned(),
            "wg-quick@wg0.service makes tunnels and would be restarted for its own changes of them: leave \"mesh\" out of its on",
        ),
        (
            "[dependents]\non = []\n".to_owned(),
            "w.toml:2:6: dependents.on: it is empty: write \"address\", \"mesh\" or both",
        ),
        (
            "[dependents]\non = \"mesh\"\n".to_owned(),
            "w.toml:2:6: dependents.on: invalid type: string \"mesh\", expected a sequence",
        ),
        (
            "[dependents]\nunits = [{ action = \"restart\" }]\n".to_owned(),
            "dependents.units: missing field `name`",
        ),
        (
            "[dependents]\nunits = [1]\n".to_owned(),
            "dependents.units: invalid type: integer `1`, expected a unit's name",
        ),
        (
            "[dependents]\nunits = [\n\"a\",\n\"b\",\n\"a.service\"]\n".to_owned(),
            "w.toml:5:1: dependents.units: a.service is named already at w.toml:3; leave one out",
        ),
        (
            "[dependents]\nhook-timeout = \"1h\"\n".to_owned(),
            "w.toml:2:16: dependents.hook-timeout: \"1h\" is no time for a hook: write \"1s\" to \"600s\"",
        ),
        (
            "[dependents]\nhook-timeout = \"601s\"\n".to_owned(),
            "\"601s\" is no time for a hook",
        ),
    ];
    for (text, expected) in table {
        let message = refused(&text);
        assert!(
            message.contains(expected),
            "{text}\n gave: {message}\n not:  {expected}"
        );
    }
}

#[test]
fn all_errors_of_all_files_are_listed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("w.toml");
    let drop_ins = folder.path().join("w.toml.d");
    fs::create_dir(&drop_ins).unwrap();
    let text = "listen-port = 1\n[mtu]\nvalue = 1\nvaleu = 2\n[sysctl]\n\"a.b\" = 1\n\"net.core.x\" = 1.5\n\
        [[forward]]\nname = \"a b\"\nprotocol = \"icmp\"\n[dependents]\nunits = [\"a\", \"b c\", 1]\n";
    fs::write(&main, text).unwrap();
    fs::write(drop_ins.join("1.toml"), "[mtu]\nvalue = \n[host\n").unwrap();
    fs::write(drop_ins.join("2.toml"), "mtu = 5\nforward = 1\n").unwrap();
    fs::write(drop_ins.join("3.toml"), b"\n\xff").unwrap();
    let error = Settings::load(&Source::File(main)).unwrap_err();
    let shown = format!("{}/", folder.path().display());
    let all = error.to_string().replace(&shown, "");
    let expected = [
        "w.toml:1:1: unknown key `listen-port` at the top of the file: it belongs in [forward]",
        "w.toml:3:9: mtu.value: 1 is no MTU",
        "w.toml:4:1: unknown key `valeu` in [mtu]: did you mean `value`?",
        "w.toml:6:1: sysctl.a.b: ",
        "w.toml:7:16: sysctl.net.core.x: invalid type: floating point `1.5`, expected a number",
        "w.toml:8:1: forward: missing field `listen-port`",
        "w.toml:9:8: forward.name: \"a b\": name has up to 64",
        "w.toml:10:12: forward.protocol: unknown variant `icmp`",
        "w.toml:12:15: dependents.units: \"b c\"",
        "w.toml:12:22: dependents.units: invalid type: integer `1`",
        "w.toml.d/1.toml:2:",
        "w.toml.d/1.toml:3:",
        "w.toml.d/2.toml:1:7: mtu: is not a table: write [mtu]",
        "w.toml.d/2.toml:2:11: forward: is not a list: write [[forward]]",
        "w.toml.d/3.toml:2: is not UTF-8 text",
        "15 errors in 4 files",
    ];
    let lines: Vec<&str> = all.lines().collect();
    for (line, expected) in lines.iter().zip(expected) {
        assert!(
            line.starts_with(expected),
            "{line}\n not: {expected}\n{all}"
        );
    }
    assert_eq!(lines.len(), expected.len(), "{all}");
    let summary = error.summary();
    assert!(
        summary.ends_with("; 15 errors in 4 files, the first 5 shown")
            && summary.matches("w.toml:").count() == 5
            && !summary.contains('\n'),
        "{summary}"
    );
}

#[test]
fn the_packaged_file_sets_the_defaults() {
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/wslmesh.toml");
    let text = fs::read_to_string(packaged).unwrap();
    let shown = load(text.as_bytes()).unwrap();
    assert_eq!(shown.forwards, []);
    // Every key of the settings in force is in it, as a comment.
    for key in shown
        .to_string()
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0))
    {
        assert!(text.contains(&format!("{key} = ")), "{key}");
    }
}

#[test]
fn forward_name_is_plain_text() {
    for name in ["", "a b", "\\\"; Remove-Item", "a\\nb", "$(x)", "é"] {
        let text = format!("[[forward]]\nname = \"{name}\"\nprotocol = \"tcp\"\nlisten-port = 1\n");
        assert!(
            refused(&text).contains("letters, digits, - _ and . only"),
            "{name}"
        );
    }
}

#[test]
fn keys_of_a_block_are_known_without_a_block() {
    let text = "[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\nlisten-port = 1\n";
    let block = load(text.as_bytes()).unwrap().forwards[0].block();
    let keys: Vec<_> = block
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .collect();
    assert_eq!(keys.len(), 6, "{block}");
    for (key, _) in keys {
        let message = refused(&format!("{key} = 1\n"));
        let hint = message.split_once("it belongs ").map(|(_, hint)| hint);
        assert!(
            hint.is_some_and(|hint| hint.contains("in [forward]")),
            "{message}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn settle_times_follow_the_mode() {
    let settings = load(b"").unwrap();
    let millis = |mode| {
        let (quiet, most) = settings.settle_times(mode);
        (quiet.as_millis(), most.as_millis())
    };
    assert_eq!(millis(None), (50, 500));
    assert_eq!(millis(Some(Mode::Nat)), (50, 500));
    assert_eq!(millis(Some(Mode::Mirrored)), (1000, 3000));
    assert_eq!(millis(Some(Mode::Consomme)), (1000, 3000));
}
