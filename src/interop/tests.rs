use super::*;

#[test]
fn automount_roots() {
    let table = [
        ("", "/mnt"),
        ("[automount]\nroot = /windir/\n", "/windir/"),
        (
            "[AutoMount]\r\nRoot=\"/w\" # mine\r\nroot=/second\r\n",
            "/w",
        ),
        ("[boot]\nroot=/no\n[automount]\nenabled=true\n", "/mnt"),
        ("[automount]\nroot=relative\n", "/mnt"),
        ("#[automount]\nroot=/no\n", "/mnt"),
    ];
    for (conf, root) in table {
        let found = automount_root_in(conf.as_bytes());
        assert_eq!(found, Path::new(root), "{conf:?}");
    }
}

#[test]
fn programs_are_started_by_init_alone() {
    let interop = Interop {
        socket: "/run/WSL/1_interop".into(),
        powershell: "/mnt/c/powershell.exe".into(),
        root: "/mnt".into(),
    };
    let program = Path::new("/mnt/c/Program Files/wslmesh/wslmesh-relay.exe");
    let command = interop.by_init(program);
    let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
    let environment: Vec<String> = command
        .get_envs()
        .map(|(name, value)| format!("{}={}", text(name), text(value.unwrap_or_default())))
        .collect();
    assert_eq!(
        environment,
        ["PATH=/usr/bin:/bin", "WSL_INTEROP=/run/WSL/1_interop"]
    );
    assert_eq!(command.get_current_dir(), program.parent());
    assert_eq!(command.get_program(), INIT);
    let arguments: Vec<String> = command.get_args().map(text).collect();
    assert_eq!(
        arguments,
        [&program.display().to_string(), "wslmesh-relay.exe"]
    );
    // Machines that are not WSL have no /init, most of them.
    let made = interop.command(program);
    assert_eq!(made.is_ok(), Path::new(INIT).exists());
}
