//! Reads `/etc/jitd` into a policy, all of it or nothing, and reports every problem.

mod file;
pub mod reload;

mod form;

mod load;

mod problem;

pub use load::{check, load, sinks, warnings_outside};
pub use problem::problem_lines;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod manual;
