//! The paths of files on the build machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The repository.
#[must_use]
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// What is built and cached.
#[must_use]
pub fn target() -> PathBuf {
    match option_env!("CARGO_TARGET_DIR") {
        Some(elsewhere) => PathBuf::from(elsewhere),
        None => repository().join("target"),
    }
}

/// Cached trees of Debian releases, made by `tests/hosts.sh`.
#[must_use]
pub fn trees() -> PathBuf {
    target().join("hosts")
}

/// Hosts that are up, one folder each.
#[must_use]
pub fn runs() -> PathBuf {
    target().join("run")
}

/// The package that this repository builds, or the one that `JIT_PACKAGE` names.
///
/// # Errors
/// When it has not been built.
#[allow(clippy::disallowed_methods, reason = "make quick plays stories on a package without optimisation")]
pub fn package() -> Result<PathBuf> {
    if let Some(other) = std::env::var_os("JIT_PACKAGE") {
        return Ok(PathBuf::from(other));
    }
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("Debian's name for the architecture {other} is not known here"),
    };
    let package = repository().join(format!("dist/jitd_{}_{arch}.deb", env!("CARGO_PKG_VERSION")));
    if !package.is_file() {
        bail!("{} is missing; `make deb` builds it", package.display());
    }
    Ok(package)
}

/// A program of this test package that runs inside a host.
///
/// # Errors
/// When it has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("where is this program?")?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("the program {name} is not beside {}; build jit_tests", own.display()))
}
