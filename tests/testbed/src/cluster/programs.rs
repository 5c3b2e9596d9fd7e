//! Programs of the tests that run inside pods.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::super::{Result, command};

/// Compiles a program that needs no crate and no library, so that an image needs nothing else.
pub(super) fn compile(source: &Path, folder: &Path) -> Result<PathBuf> {
    let name = source.parent().and_then(Path::file_name).ok_or("a program has a folder of its own")?;
    let program = folder.join(name);
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition=2024", "-Copt-level=2", "-Cstrip=symbols", "-Ctarget-feature=+crt-static"]);
    rustc.arg("-o").arg(&program).arg(source);
    let compiled = command::run(&mut rustc, "")?;
    if compiled.success { Ok(program) } else { Err(format!("rustc: {}", compiled.stderr).into()) }
}
