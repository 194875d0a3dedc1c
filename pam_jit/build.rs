//! Link flags of the module.

use std::fs;
use std::path::PathBuf;

#[allow(clippy::disallowed_methods, reason = "how cargo speaks to a build script")]
fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    // libpam unloads a module at pam_end. A thread-local's destructor may still point into it by then, and a call into
    // unmapped code would crash sudo: the module stays mapped for the life of the process.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // The unwinder is linked from gcc's archive and not from libgcc_s.so.1, which no other part of sudo needs: finding,
    // mapping and relocating that library made each sudo 0.8 percent slower. rustc names it as `-lgcc_s`; this linker
    // script resolves the name.
    let directory = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(directory.join("libgcc_s.so"), "INPUT(-lgcc_eh)\n")?;
    println!("cargo:rustc-link-search=native={}", directory.display());
    Ok(())
}
