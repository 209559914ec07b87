//! Windows as far as its drives show it, and the way to its programs. A drive may
//! hang, so this runs apart from the rest.

use std::{env, path::Path};

use super::{
    super::facts::{Interop, Text, Way},
    root::Root,
};
use crate::interop::{
    Interop as Found,
    ini::{self, Ini},
};

/// Most users of Windows whose folders are looked into.
const USERS: usize = 64;

/// The way to Windows programs, without a call.
pub(super) fn interop(root: &Root, wsl: bool) -> Interop {
    let named = env::var("WSL_INTEROP").ok();
    Interop {
        entry: ["WSLInterop", "WSLInterop-late"].iter().find_map(|name| {
            let state = root.line(&format!("/proc/sys/fs/binfmt_misc/{name}"))?;
            Some(((*name).to_owned(), state == "enabled"))
        }),
        init: root.is_there("/init"),
        way: if wsl { way() } else { Way::NotWsl },
        named: named.map(|path| {
            let there = Path::new(&path).exists();
            (path, there)
        }),
    }
}

fn way() -> Way {
    match Found::find() {
        Ok(found) => Way::Found(found.to_string()),
        Err(error) => Way::None(error.code(), error.to_string()),
    }
}

/// What a drive of Windows shows.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) wslconfig: Text<Ini>,
    pub(super) installed: bool,
}

impl Drive {
    /// Looks below the folder where drives are mounted.
    pub(super) fn read(root: &Root, mounts: &str) -> Self {
        let mounts = mounts.trim_end_matches('/');
        let drive = ('c'..='z')
            .map(|letter| format!("{mounts}/{letter}"))
            .find(|drive| root.is_there(&format!("{drive}/Users")));
        let Some(drive) = drive else {
            return Self {
                wslconfig: Text::Unreadable("no Windows drive is mounted here".to_owned()),
                installed: false,
            };
        };
        Self {
            wslconfig: wslconfig(root, &drive),
            installed: root.is_there(&format!("{drive}/Program Files/wslmesh")),
        }
    }
}

/// The one `.wslconfig` that can be read. Whose this virtual machine is cannot be
/// seen, so of several none is taken.
fn wslconfig(root: &Root, drive: &str) -> Text<Ini> {
    let folder = format!("{drive}/Users");
    let users = root.names(&folder, USERS);
    let path = |user: &String| format!("{folder}/{user}/.wslconfig");
    let mut found = users.iter().filter(|user| {
        let bytes = root.bytes(&path(user), ini::MOST);
        bytes.content().is_some()
    });
    match (found.next(), found.next()) {
        (None, _) if users.is_empty() => {
            Text::Unreadable(format!("{folder} shows no user of Windows"))
        }
        (None, _) => Text::Missing,
        (Some(user), None) => {
            let bytes = root.bytes(&path(user), ini::MOST);
            bytes.map(|bytes| Ini::decode(&bytes))
        }
        (Some(one), Some(other)) => Text::Unreadable(format!(
            "{one} and {other} both have a .wslconfig, and which counts here cannot be seen"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_users_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let read = || Drive::read(&root, "/mnt/");
        assert!(matches!(read().wslconfig, Text::Unreadable(_)));
        fs::create_dir_all(root.at("/mnt/d/Users/Public")).unwrap();
        fs::create_dir_all(root.at("/mnt/d/Users/ann")).unwrap();
        fs::create_dir_all(root.at("/mnt/d/Users/bob")).unwrap();
        assert_eq!(read().wslconfig, Text::Missing);
        let text: Vec<u8> = "\u{feff}[wsl2]\r\nmemory=4GB\r\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        fs::write(root.at("/mnt/d/Users/ann/.wslconfig"), text).unwrap();
        let found = read();
        let ini = found.wslconfig.content().unwrap();
        assert_eq!(ini.get("wsl2", "memory"), Some("4GB"));
        assert!(!found.installed);
        fs::create_dir_all(root.at("/mnt/d/Program Files/wslmesh")).unwrap();
        fs::write(root.at("/mnt/d/Users/bob/.wslconfig"), "").unwrap();
        let found = read();
        assert!(
            found.installed
                && matches!(&found.wslconfig, Text::Unreadable(why) if why.contains("ann and bob"))
        );
    }

    #[test]
    fn entries_of_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert!(interop(&root, false).entry.is_none());
        let path = root.at("/proc/sys/fs/binfmt_misc/WSLInterop-late");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "enabled\ninterpreter /init\n").unwrap();
        fs::write(root.at("/init"), "").unwrap();
        let found = interop(&root, false);
        assert_eq!(found.entry, Some(("WSLInterop-late".into(), true)));
        assert!(found.init && matches!(found.way, Way::NotWsl));
        fs::write(&path, "disabled\n").unwrap();
        assert!(!interop(&root, false).entry.unwrap().1);
    }
}
