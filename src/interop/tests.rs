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
fn programs_are_started_as_the_kernel_would() {
    let interop = Interop {
        socket: "/run/WSL/1_interop".into(),
        powershell: "/mnt/c/powershell.exe".into(),
        root: "/mnt".into(),
    };
    let program = Path::new("/mnt/c/Program Files/wslmesh/wslmesh-relay.exe");
    let mut tried = Vec::new();
    let ended = interop.start(program, |command| {
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
        let arguments: Vec<String> = command.get_args().map(text).collect();
        tried.push((text(command.get_program()), arguments));
        let error = rustix::io::Errno::NOEXEC.into();
        Err::<(), _>(ChildError::Start(error))
    });
    assert!(ended.is_err());
    let direct = (program.display().to_string(), Vec::new());
    let by_init = (
        INIT.to_owned(),
        vec![
            program.display().to_string(),
            "wslmesh-relay.exe".to_owned(),
        ],
    );
    // Machines that are not WSL have no /init, most of them.
    let expected = if Path::new(INIT).exists() {
        vec![direct, by_init]
    } else {
        vec![direct]
    };
    assert_eq!(tried, expected);
}
