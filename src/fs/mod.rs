//! Files: replaced atomically, secured, and read within bounds.

pub mod file;
pub mod own;
