//! `jitctl`.

fn main() -> std::process::ExitCode {
    jitctl::run()
}
