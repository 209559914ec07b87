use std::{fs, os::unix::fs::symlink, process::Command, thread};

use super::*;

#[test]
fn only_the_system_s_programs_run() {
    let folder = tempfile::tempdir().unwrap();
    let (drive, lib) = (folder.path().join("drive"), folder.path().join("lib"));
    for folder in [&drive, &lib] {
        fs::create_dir(folder).unwrap();
        let copied = Command::new("cp").arg("/bin/true").arg(folder).status();
        assert!(copied.unwrap().success());
    }
    let run = |program: &Path| {
        let status = Command::new(program).status();
        status.map(|status| status.success()).map_err(|e| e.kind())
    };
    let (program, ours) = (drive.join("true"), lib.join("true"));
    assert_eq!(run(&program), Ok(true));
    // Of the thread alone.
    let confined = thread::spawn(move || {
        if !confine(&lib).unwrap() {
            return None;
        }
        let link = lib.join("link");
        symlink(&program, &link).unwrap();
        Some([
            run(&program),
            run(&link),
            run(&ours),
            run(Path::new("/bin/true")),
        ])
    });
    let denied = Err(std::io::ErrorKind::PermissionDenied);
    match confined.join().unwrap() {
        Some(ran) => assert_eq!(ran, [denied, denied, Ok(true), Ok(true)]),
        None => println!("not tried: this kernel has no Landlock"),
    }
}
