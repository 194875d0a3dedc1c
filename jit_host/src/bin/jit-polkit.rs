//! Asks jitd for polkit's rule; see `jit_host::polkit_helper`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    jit_host::polkit_helper::run()
}
