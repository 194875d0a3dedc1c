//! Entries and snapshots for tests.

use jit_proto::time::BootId;

use super::*;

pub(in crate::drift) fn file(print: &str, mode: u32, uid: u32, changed_at: i64) -> Entry {
    let (what, acl) = (EntryKind::File { print: print.into() }, String::new());
    Entry { what, mode, uid, gid: 0, capabilities: 0, changed_at, acl, kind: Kind::Other }
}

pub(in crate::drift) fn snapshot(places: &[(&str, Entry)], privileged: &[(&str, Entry)]) -> Snapshot {
    let map = |list: &[(&str, Entry)]| list.iter().map(|(path, e)| ((*path).to_owned(), e.clone())).collect();
    Snapshot {
        boot_id: BootId("a".into()),
        list: String::new(),
        setuid_paths: vec!["/var/tmp".into(), "/usr/".into()],
        places: map(places),
        privileged: map(privileged),
        mounts: BTreeMap::new(),
        processes: BTreeMap::new(),
        checked: None,
        taken: WallTime(0),
    }
}
