//! The length of stories: short forms run in `make test`, full ones in `make soak`.

/// Whether the full form was asked for, by `JIT_SOAK=1` in the environment.
#[allow(
    clippy::disallowed_methods,
    reason = "the one setting of the harness that the Makefile gives by environment"
)]
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("JIT_SOAK").is_some_and(|value| value == "1")
}

/// One of two sizes, by [`is_full`].
#[must_use]
pub fn size(short: u32, full: u32) -> u32 {
    if is_full() { full } else { short }
}
