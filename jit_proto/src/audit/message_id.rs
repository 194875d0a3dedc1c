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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::AuditEvent;
    use crate::bus::names::HEARTBEAT;
    use std::collections::BTreeMap;

    /// What `journalctl -x` says, by message id: subject and explanation.
    fn catalog() -> BTreeMap<String, (String, String)> {
        let text = include_str!("../../../packaging/journal/jitd.catalog");
        let entries = text.split("\n-- ").skip(1).map(|entry| {
            let (id, entry) = entry.split_once('\n').unwrap();
            let (header, body) = entry.split_once("\n\n").unwrap();
            let subject = header.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
            (id.to_owned(), (subject.to_owned(), body.trim().to_owned()))
        });
        entries.collect()
    }

    #[test]
    fn the_journals_catalog_explains_every_event_and_nothing_else() {
        let mut catalog = catalog();
        for event in AuditEvent::ALL.iter().map(|event| event.name()).chain([HEARTBEAT]) {
            let entry = catalog.remove(&of(event));
            let (subject, body) = entry.unwrap_or_else(|| panic!("{event} has no entry {}", of(event)));
            assert!(!subject.is_empty() && !body.is_empty(), "{event}");
        }
        assert_eq!(catalog, BTreeMap::new());
    }
}
