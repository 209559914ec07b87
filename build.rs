//! Leaves the tables for unwinding out of the released programs: a panic ends them
//! (`panic = "abort"` in Cargo.toml), so nothing reads the tables, and they are an eighth of
//! the size.

use std::{env::var, path::Path};

fn main() {
    let folder = var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let scripts = Path::new(&folder).ancestors();
    let mut scripts = scripts.map(|folder| folder.join("packaging/no-unwind.ld"));
    let Some(script) = scripts.find(|script| script.exists()) else {
        return;
    };
    println!("cargo::rerun-if-changed={}", script.display());
    let is = |name: &str, value: &str| var(name).is_ok_and(|set| set == value);
    // Debug builds unwind. The linkers of GNU and of LLVM know this script, that of Windows not.
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={}", script.display());
    }
}
