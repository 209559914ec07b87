use std::fs;

use super::*;
use crate::doctor::tests::{machine, write};

#[test]
fn only_one_wslconfig_is_used() {
    let (_folder, root) = machine(&[]);
    let read = || drive(&root, &Drives::of(b"", b"", |_| None));
    assert!(read().wslconfig.is_err());
    fs::create_dir_all(root.at("/mnt/d/Users/Public")).unwrap();
    fs::create_dir_all(root.at("/mnt/d/Users/ann")).unwrap();
    fs::create_dir_all(root.at("/mnt/d/Users/bob")).unwrap();
    assert_eq!(read().wslconfig, Ok(None));
    write(&root, "/mnt/d/Users/bob/.wslconfig.txt", "");
    assert_eq!(read().near, ["/mnt/d/Users/bob/.wslconfig.txt"]);
    let text: Vec<u8> = "\u{feff}[wsl2]\r\nmemory=4GB\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    fs::write(root.at("/mnt/d/Users/ann/.wslconfig"), text).unwrap();
    let found = read();
    let ini = found.wslconfig.unwrap().unwrap();
    assert_eq!(ini.get("wsl2.memory"), Some("4GB"));
    assert!(!found.installed && found.near.is_empty());
    write(&root, "/mnt/d/Program Files/wslmesh/x", "");
    write(&root, "/mnt/d/Users/bob/.wslconfig", "");
    let found = read();
    let two = found
        .wslconfig
        .is_err_and(|why| why.contains("ann and bob"));
    assert!(found.installed && two);
}

#[test]
fn binfmt_entries() {
    let (_folder, root) = machine(&[]);
    assert!(interop(&root).entry.is_none());
    let entry = "/proc/sys/fs/binfmt_misc/WSLInterop-late";
    write(&root, entry, "enabled\ninterpreter /init\n");
    write(&root, "/init", "");
    let found = interop(&root);
    assert_eq!(found.entry, Some(("WSLInterop-late".into(), true)));
    assert!(found.init && found.way.is_err());
    write(&root, entry, "disabled\n");
    assert!(!interop(&root).entry.unwrap().1);
}
