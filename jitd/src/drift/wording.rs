//! The texts of differences.

use jit_proto::escape::{Escaped, word};

use super::account_files::{AccountFile, changes};
use super::finding::Finding;
use super::print::is_of_content;
use super::snapshot::{Entry, EntryKind, Map};
use crate::core::drift::kind::Kind;

/// The difference at a path, if there is one.
pub(super) fn difference(path: &str, then: Option<&Entry>, now: Option<&Entry>, map: Map) -> Option<Finding> {
    let privileged = map == Map::Privileged;
    let shown = Escaped(&word(path)).to_string();
    let entry = now.or(then)?;
    let (verb, tail) = match (then, now) {
        (None, None) => return None,
        (Some(then), Some(now)) if then.is_like(now) => return None,
        (_, Some(Entry { what: EntryKind::Unseen { why }, .. })) => {
            ("could not look at ".to_owned(), format!(": {}", Escaped(why)))
        }
        (None, Some(now)) if !privileged && now.is_ancestor() => return None,
        (None | Some(Entry { what: EntryKind::Unseen { .. }, .. }), Some(now)) => {
            (format!("{} {}", now.came(privileged), now.noun()), now.description(privileged))
        }
        (Some(then), None) => {
            let gone = if then.is_write_permission(privileged) { "no longer writable:" } else { "removed" };
            let gone = if map == Map::Mounts { "unmounted" } else { gone };
            (format!("{gone} {}", then.noun()), String::new())
        }
        (Some(then), Some(now)) => {
            (format!("changed {}", now.noun()), format!(": {}", now.changes_since(then, path)))
        }
    };
    let kind = kind_of(then, now, entry, privileged);
    let uid = if kind == Kind::OwnFiles || kind == Kind::Unseen { entry.uid } else { 0 };
    Some(Finding { path: path.to_owned(), map, kind, unit: None, uid, verb, shown, tail })
}

fn kind_of(then: Option<&Entry>, now: Option<&Entry>, entry: &Entry, privileged: bool) -> Kind {
    if matches!(entry.what, EntryKind::Unseen { .. }) {
        return Kind::Unseen;
    }
    // The former owner counts as well: only root can change the owner of a file.
    let of_user = then.is_none_or(|then| then.uid != 0) && now.is_none_or(|now| now.uid != 0);
    if privileged {
        return match entry.is_write_permission(true) {
            true => Kind::Rights,
            false if of_user => Kind::OwnFiles,
            false => Kind::SetUid,
        };
    }
    if of_user && entry.kind != Kind::Mounts {
        return Kind::OwnFiles;
    }
    match (then, now) {
        (Some(then), Some(now)) if then.what == now.what && entry.kind > Kind::Rights => Kind::Rights,
        _ => entry.kind,
    }
}

impl Entry {
    /// Whether this is a folder above a watched path, which has an entry because of its write permissions. Its
    /// appearance is reported by the paths below it.
    fn is_ancestor(&self) -> bool {
        self.kind == Kind::Rights && self.what == EntryKind::Folder
    }

    /// Whether a path has an entry only because a user other than root may write it.
    fn is_write_permission(&self, privileged: bool) -> bool {
        let gives = self.mode & 0o6000 != 0 && matches!(self.what, EntryKind::File { .. });
        privileged
            && !gives
            && self.capabilities == 0
            && matches!(self.what, EntryKind::File { .. } | EntryKind::Folder)
    }

    fn came(&self, privileged: bool) -> &'static str {
        match self.what {
            EntryKind::Mount { .. } => "mounted",
            _ if self.is_write_permission(privileged) => "writable by others than root:",
            _ => "added",
        }
    }

    fn noun(&self) -> String {
        let mut words = String::new();
        if self.mode & 0o4000 != 0 && matches!(self.what, EntryKind::File { .. }) {
            words.push_str("setuid ");
        }
        if self.mode & 0o2000 != 0 && matches!(self.what, EntryKind::File { .. }) {
            words.push_str("setgid ");
        }
        match &self.what {
            EntryKind::Folder => words.push_str("folder "),
            EntryKind::Link { .. } => words.push_str("link "),
            EntryKind::Special => words.push_str("special file "),
            EntryKind::Device { which } => words.push_str(&format!("{} device ", Escaped(which))),
            EntryKind::File { .. } if self.capabilities != 0 && words.is_empty() => {
                words.push_str("file with capabilities ");
            }
            EntryKind::File { .. }
            | EntryKind::Accounts { .. }
            | EntryKind::Unseen { .. }
            | EntryKind::Mount { .. } => {}
        }
        words
    }

    fn description(&self, privileged: bool) -> String {
        let mut words = String::new();
        if let EntryKind::Link { target } = &self.what {
            words.push_str(&format!(" to {}", Escaped(&word(target))));
        }
        if let EntryKind::Mount { of } = &self.what {
            words.push_str(&format!(" from {}", Escaped(of)));
        }
        if privileged || self.uid != 0 {
            words.push_str(&format!(", owned by {}", owner(self.uid)));
        }
        if matches!(self.what, EntryKind::Device { .. }) || self.is_write_permission(privileged) {
            words.push_str(&format!(", mode {:04o}", self.mode));
        }
        if privileged && self.mode & 0o2000 != 0 || self.is_write_permission(privileged) {
            words.push_str(&format!(", group {}", self.gid));
        }
        if self.capabilities != 0 {
            words.push_str(&format!(", capabilities {:#x}", self.capabilities));
        }
        if !self.acl.is_empty() {
            words.push_str(&format!(", ACL {}", self.acl));
        }
        words
    }

    /// The differences from an earlier entry; at least one phrase.
    fn changes_since(&self, then: &Self, path: &str) -> String {
        let mut phrases = Vec::new();
        match (&then.what, &self.what) {
            (EntryKind::Accounts { lines: before, .. }, EntryKind::Accounts { lines: after, .. }) => {
                if let Some(file) = AccountFile::named(path) {
                    let changed = changes(file, before, after);
                    phrases.extend(changed.iter().map(|phrase| Escaped(phrase).to_string()));
                }
                if phrases.is_empty() && then.what != self.what {
                    phrases.push("its content".to_owned());
                }
            }
            (before, after) if before == after => {}
            (EntryKind::File { print: before }, EntryKind::File { print: after }) => {
                phrases.push(what_of_a_file(before, after).to_owned());
            }
            (EntryKind::Mount { .. }, EntryKind::Mount { of }) => {
                phrases.push(format!("it is {} now", Escaped(of)))
            }
            (_, EntryKind::Link { target }) => {
                phrases.push(format!("it links to {} now", Escaped(&word(target))))
            }
            _ => phrases.push("it is of another kind now".to_owned()),
        }
        if then.mode != self.mode && !matches!(self.what, EntryKind::Link { .. }) {
            phrases.push(format!("mode {:04o} became {:04o}", then.mode, self.mode));
        }
        if then.uid != self.uid {
            phrases.push(format!("its owner {} became {}", owner(then.uid), owner(self.uid)));
        }
        if then.gid != self.gid {
            phrases.push(format!("its group {} became {}", then.gid, self.gid));
        }
        if then.capabilities != self.capabilities {
            phrases.push(format!("capabilities {:#x} became {:#x}", then.capabilities, self.capabilities));
        }
        if then.acl != self.acl {
            let text = |acl: &str| if acl.is_empty() { "none".to_owned() } else { format!("({acl})") };
            phrases.push(format!("its ACL {} became {}", text(&then.acl), text(&self.acl)));
        }
        phrases.join("; ")
    }
}

/// The change of a file: its contents, if they were compared.
fn what_of_a_file(before: &str, after: &str) -> &'static str {
    match (is_of_content(before), is_of_content(after)) {
        (true, true) => "its content",
        _ => "its inode, size or times; contents were not compared",
    }
}

fn owner(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("uid {uid}") }
}
