//! The D-Bus interface: its names, and its values as types.

#[cfg(feature = "dict")]
pub mod dict;
pub mod names;
pub mod view;
