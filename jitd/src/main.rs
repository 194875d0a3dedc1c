//! jitd(8).

fn main() -> std::process::ExitCode {
    jitd::main()
}
