//! Reads `/etc/jitd` into a policy, all of it or nothing, and says exactly what is wrong with it.

mod file;

mod load;

pub use load::{load, sinks};

#[cfg(test)]
mod tests;
