//! What Windows' drives show, and the way to its programs. A drive may hang, so this
//! is read apart from the rest.

use std::{env, path::Path};

use super::{
    super::facts::{Interop, Text, Way},
    root::Root,
};
use crate::interop::{
    Interop as Found,
    ini::{self, Ini},
};

/// Most Windows users whose folders are read.
const USERS: usize = 64;

/// The way to Windows programs, without calling one.
pub(super) fn interop(root: &Root, wsl: bool) -> Interop {
    let named = env::var("WSL_INTEROP").ok();
    Interop {
        entry: ["WSLInterop", "WSLInterop-late"].iter().find_map(|name| {
            let state = root.line(&format!("/proc/sys/fs/binfmt_misc/{name}"))?;
            Some(((*name).to_owned(), state == "enabled"))
        }),
        init: root.exists("/init"),
        way: if wsl { way() } else { Way::NotWsl },
        named: named.map(|path| {
            let exists = Path::new(&path).exists();
            (path, exists)
        }),
    }
}

fn way() -> Way {
    match Found::find() {
        Ok(found) => Way::Found(found.to_string()),
        Err(error) => Way::None(error.code(), error.to_string()),
    }
}

/// The .wslconfig on a Windows drive mounted below this folder, and whether
/// `wslmesh host install` has left its folder there.
pub(super) fn drive(root: &Root, mounts: &str) -> (Text<Ini>, bool) {
    let mounts = mounts.trim_end_matches('/');
    let mut drives = ('c'..='z').map(|letter| format!("{mounts}/{letter}"));
    match drives.find(|drive| root.exists(&format!("{drive}/Users"))) {
        Some(drive) => (
            wslconfig(root, &drive),
            root.exists(&format!("{drive}/Program Files/wslmesh")),
        ),
        None => (
            Text::Unreadable("no Windows drive is mounted here".to_owned()),
            false,
        ),
    }
}

/// The only `.wslconfig` that can be read. Which Windows user runs this virtual
/// machine is unknown, so of several none is used.
fn wslconfig(root: &Root, drive: &str) -> Text<Ini> {
    let folder = format!("{drive}/Users");
    let users = root.names(&folder, USERS);
    let read = |user| {
        let bytes = root.bytes(&format!("{folder}/{user}/.wslconfig"), ini::MOST);
        Some((user, Ini::decode(bytes.content()?)))
    };
    let mut found = users.iter().filter_map(read);
    match (found.next(), found.next()) {
        (None, _) if users.is_empty() => {
            Text::Unreadable(format!("{folder} shows no user of Windows"))
        }
        (None, _) => Text::Missing,
        (Some((_, ini)), None) => Text::Content(ini),
        (Some((one, _)), Some((other, _))) => Text::Unreadable(format!(
            "{one} and {other} both have a .wslconfig; which one applies is unknown"
        )),
    }
}

#[cfg(test)]
mod tests {
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
}
