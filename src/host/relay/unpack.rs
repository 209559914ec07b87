//! Copies the relay to the Windows drive: Windows starts a program on the Linux
//! disk slowly, through a file server (9P).

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::RelayError;

const NAME: &str = "wslmesh-relay-";

/// Copies the program into the folder, under a name with its hash, unless it is
/// there already. Removes other copies, except those that run: they cannot be
/// removed until they exit.
pub(super) fn unpack(source: &Path, folder: &Path) -> Result<PathBuf, RelayError> {
    let content = fs::read(source).map_err(|error| match error.kind() {
        ErrorKind::NotFound => RelayError::Missing(source.to_owned()),
        _ => failed(source)(error),
    })?;
    let name = format!("{NAME}{}.exe", hash(&content));
    let path = folder.join(&name);
    if fs::read(&path).is_ok_and(|found| found == content) {
        return Ok(path);
    }
    fs::create_dir_all(folder).map_err(failed(folder))?;
    write(&path, &name, folder, &content).map_err(failed(&path))?;
    remove_others(folder, &name);
    Ok(path)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> RelayError {
    move |source| RelayError::Unpack {
        path: path.to_owned(),
        source,
    }
}

/// The first 16 hexadecimal digits of the SHA-256.
fn hash(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let start = digest.iter().take(8);
    start.map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, name: &str, folder: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(&format!("{name}."))
        .suffix(".new")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Whether this module made the file, complete or not.
fn is_ours(name: &str) -> bool {
    let rest = name.strip_prefix(NAME).unwrap_or_default();
    let (hash, rest) = rest.split_at_checked(16).unwrap_or_default();
    let temporary = || {
        let random = rest
            .strip_prefix(".exe.")
            .and_then(|rest| rest.strip_suffix(".new"));
        random.is_some_and(|random| random.chars().all(|c| c.is_ascii_alphanumeric()))
    };
    !hash.is_empty()
        && hash.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
        && (rest == ".exe" || temporary())
}

fn remove_others(folder: &Path, keep: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name != keep && is_ours(name))
        {
            fs::remove_file(entry.path()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_has_the_hash_and_other_copies_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (source, place) = (folder.path().join("relay.exe"), folder.path().join("a/b"));
        fs::write(&source, b"abc").unwrap();
        fs::create_dir_all(&place).unwrap();
        let old = "wslmesh-relay-0123456789abcdef.exe";
        let half = "wslmesh-relay-0123456789abcdef.exe.77.new";
        let foreign = [
            "wslmesh-relay-mine.exe",
            "wslmesh-relay-0123456789abcdef.exe.old",
            "wslmesh-relay-0123456789abcdeF.exe",
            "staging",
        ];
        for name in foreign.iter().chain(&[old, half]) {
            fs::write(place.join(name), b"x").unwrap();
        }
        let path = unpack(&source, &place).unwrap();
        // SHA-256 of "abc" (FIPS 180-4's first example).
        assert_eq!(path, place.join("wslmesh-relay-ba7816bf8f01cfea.exe"));
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o755
        );
        let mut left: Vec<_> = fs::read_dir(&place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected = foreign.to_vec();
        expected.push("wslmesh-relay-ba7816bf8f01cfea.exe");
        expected.sort_unstable();
        assert_eq!(left, expected);
    }

    #[test]
    fn damaged_copy_is_replaced_and_a_good_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("relay.exe");
        fs::write(&source, b"abc").unwrap();
        let path = unpack(&source, folder.path()).unwrap();
        let made = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(unpack(&source, folder.path()).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), made);
        fs::write(&path, b"abd").unwrap();
        unpack(&source, folder.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("relay.exe");
        let missing = unpack(&source, folder.path()).unwrap_err();
        assert!(matches!(&missing, RelayError::Missing(path) if *path == source));
        fs::write(&source, b"abc").unwrap();
        let blocked = unpack(&source, &source).unwrap_err();
        assert!(
            blocked.to_string().contains(&source.display().to_string()),
            "{blocked}"
        );
    }
}
