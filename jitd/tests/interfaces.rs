//! The installed description of the bus interfaces can be parsed by tools.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::fs;
use std::path::Path;

/// Tools read the interfaces that are installed for them; each element has to end, and each signal to say what it carries.
#[test]
fn the_interfaces_that_are_shipped_are_well_formed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/dbus/org.jitd.Jit1.xml");
    let mut text = fs::read_to_string(path).unwrap();
    while let Some(begin) = text.find("<!--") {
        let end = begin + text[begin..].find("-->").expect("a comment ends") + 3;
        text.replace_range(begin..end, "");
    }
    let mut open: Vec<&str> = Vec::new();
    for tag in text.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.trim_matches('/').split_whitespace().next().unwrap_or_default();
        if tag.starts_with(['!', '?']) {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !tag.ends_with('/') {
            assert!(name != "signal" || open.last() == Some(&"interface"), "<{tag}> in {open:?}");
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} has no end");
}
