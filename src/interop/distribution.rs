//! What this distribution is called.

use std::{env, fs, path::Path};

use super::Interop;

/// As WSL calls it; `None` where it does not say. WSL sets the variable in terminals, and
/// not for services.
pub async fn ask() -> Option<String> {
    if let Some(name) = env::var("WSL_DISTRO_NAME")
        .ok()
        .filter(|name| !name.is_empty())
    {
        return Some(named(&name));
    }
    let root = Interop::find().ok()?.windows_path(Path::new("/")).await;
    of_root(&root.ok()?)
}

fn of_root(path: &str) -> Option<String> {
    let name = name_in_root(path).filter(|name| !name.is_empty())?;
    Some(named(name))
}

/// The name in what `wslpath -w /` answers: `\\wsl.localhost\NAME\`, before WSL 0.67
/// `\\wsl$\NAME\`.
#[must_use]
pub fn name_in_root(path: &str) -> Option<&str> {
    let servers = ["\\\\wsl.localhost\\", "\\\\wsl$\\"];
    let mut rests = servers
        .iter()
        .filter_map(|server| path.strip_prefix(server));
    rests.next()?.strip_suffix('\\')
}

/// The machine's name instead: all distributions may have the same.
#[must_use]
pub fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    named(name.unwrap_or_default().trim())
}

/// Made fit for the name of a distribution, as WSL's are.
fn named(name: &str) -> String {
    let plain = |c: char| match c {
        '-' | '_' | '.' => c,
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    };
    match name.chars().take(64).map(plain).collect::<String>() {
        empty if empty.is_empty() => "unnamed".to_owned(),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_named_by_its_root() {
        let table = [
            (r"\\wsl.localhost\Ubuntu-24.04\", Some("Ubuntu-24.04")),
            (r"\\wsl$\Debian\", Some("Debian")),
            (r"\\wsl.localhost\my distro\", Some("my-distro")),
            (r"\\wsl.localhost\\", None),
            (r"C:\", None),
        ];
        for (path, name) in table {
            assert_eq!(of_root(path).as_deref(), name, "{path}");
        }
    }
}
