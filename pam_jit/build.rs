//! Link flags of the module.

use std::fs;
use std::path::PathBuf;

#[allow(clippy::disallowed_methods, reason = "how cargo speaks to a build script")]
fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    // libpam unloads a module at pam_end. Code of ours may still be named by then (a thread-local's destructor), and
    // unmapped code that is called is a crash of sudo: the module stays mapped for the life of the process.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // The unwinder comes out of gcc's archive and not out of libgcc_s.so.1, which no other part of sudo needs: finding,
    // mapping and relocating it made each sudo 0.8 percent slower. rustc names it as `-lgcc_s`; this script answers.
    let directory = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(directory.join("libgcc_s.so"), "INPUT(-lgcc_eh)\n")?;
    println!("cargo:rustc-link-search=native={}", directory.display());
    Ok(())
}
