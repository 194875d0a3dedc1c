//! The 128-bit number by which the journal knows each kind of event (systemd.journal-fields(7), MESSAGE_ID).

use sha2::{Digest, Sha256};

/// The message id of an event: half of the SHA-256 of `org.jitd.Jit1 NAME`, in hexadecimal digits, marked as a random
/// UUID (RFC 9562 section 5.4) as the journal's catalog asks. An event's name never changes, and so does this.
#[must_use]
pub fn of(event: &str) -> String {
    let mut id: [u8; 16] = [0; 16];
    id.copy_from_slice(&Sha256::digest(format!("org.jitd.Jit1 {event}"))[..16]);
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    hex::encode(id)
}
