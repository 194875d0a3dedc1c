//! Reads `/etc/jitd` into a policy, all of it or nothing, and says exactly what is wrong with it.

mod file;
pub mod reload;

mod form;

mod load;

pub use load::{check, load, sinks, warnings_outside};

#[cfg(test)]
mod tests;
