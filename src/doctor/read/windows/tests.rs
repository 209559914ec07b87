
use std::fs;

use super::*;
use crate::doctor::testing::{machine, write};

#[test]
fn only_one_wslconfig_is_used() {
    let (_folder, root) = machine(&[]);
    let read = || drive(&root, "/mnt/");
    assert!(matches!(read().0, Text::Unreadable(_)));
    fs::create_dir_all(root.at("/mnt/d/Users/Public")).unwrap();
    fs::create_dir_all(root.at("/mnt/d/Users/ann")).unwrap();
    fs::create_dir_all(root.at("/mnt/d/Users/bob")).unwrap();
    assert_eq!(read().0, Text::Missing);
    let text: Vec<u8> = "\u{feff}[wsl2]\r\nmemory=4GB\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    fs::write(root.at("/mnt/d/Users/ann/.wslconfig"), text).unwrap();
    let (wslconfig, installed) = read();
    let ini = wslconfig.content().unwrap();
    assert_eq!(ini.get("wsl2", "memory"), Some("4GB"));
    assert!(!installed);
    write(&root, "/mnt/d/Program Files/wslmesh/x", "");
    write(&root, "/mnt/d/Users/bob/.wslconfig", "");
    let (wslconfig, installed) = read();
    let two = matches!(wslconfig, Text::Unreadable(why) if why.contains("ann and bob"));
    assert!(installed && two);
}

#[test]
fn binfmt_entries() {
    let (_folder, root) = machine(&[]);
    assert!(interop(&root, false).entry.is_none());
    let entry = "/proc/sys/fs/binfmt_misc/WSLInterop-late";
    write(&root, entry, "enabled\ninterpreter /init\n");
    write(&root, "/init", "");
    let found = interop(&root, false);
    assert_eq!(found.entry, Some(("WSLInterop-late".into(), true)));
    assert!(found.init && matches!(found.way, Way::NotWsl));
    write(&root, entry, "disabled\n");
    assert!(!interop(&root, false).entry.unwrap().1);
}
