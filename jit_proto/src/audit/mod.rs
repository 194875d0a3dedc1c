//! The audit log: its records, their chain and seals, and their copies in other systems.

pub mod chain;
pub mod copies;
pub mod event;
pub mod filter;
pub mod hash;
pub mod known_head;
pub mod message;
pub mod message_id;
pub mod observation;
pub mod record;
pub mod render;
pub mod retention;
pub mod seal;
