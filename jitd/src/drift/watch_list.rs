//! The watched paths: files and folders of a host that decide about privilege.

mod homes;
mod identity;
mod platform;
mod programs;

use crate::core::drift::kind::Kind;

pub(super) use homes::{IN_HOMES, IN_ROOTS_HOMES};

/// A file, or a folder with everything in it down to a depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct WatchedPath {
    /// The path.
    pub(super) path: &'static str,
    /// The depth below it; 0 for a file.
    pub(super) depth: u32,
    /// Whether contents are compared; otherwise inode, size and times are, and folders below the depth are skipped
    /// without an entry.
    pub(super) read: bool,
}

const fn file(path: &'static str) -> WatchedPath {
    WatchedPath { path, depth: 0, read: true }
}

const fn tree(path: &'static str) -> WatchedPath {
    WatchedPath { path, depth: 8, read: true }
}

/// Programs, libraries and other large files, to this depth.
const fn by_times(path: &'static str, depth: u32) -> WatchedPath {
    WatchedPath { path, depth, read: false }
}

/// The watched paths of every host, by kind. A missing path is no error; a new one is a finding. Where paths overlap,
/// the later one decides about the kind.
pub(super) fn system() -> impl Iterator<Item = (Kind, &'static [WatchedPath])> {
    [OTHER, identity::IDENTITY, programs::PROGRAMS, platform::PLATFORM].into_iter().flatten().copied()
}

/// Paths of no other kind, before all others.
const OTHER: &[(Kind, &[WatchedPath])] = &[(
    Kind::Other,
    &[
        tree("/etc/security"),
        tree("/etc/default"),
        tree("/etc/sysconfig"),
        tree("/etc/network"),
        tree("/etc/netplan"),
        tree("/etc/NetworkManager/dispatcher.d"),
        tree("/usr/lib/NetworkManager/dispatcher.d"),
        tree("/etc/networkd-dispatcher"),
        tree("/etc/dhcp"),
        tree("/etc/dhcpcd.conf"),
        tree("/etc/ppp"),
        tree("/etc/wpa_supplicant"),
        tree("/etc/openvpn"),
        tree("/etc/wireguard"),
        tree("/etc/acpi"),
        tree("/etc/pm"),
        tree("/etc/bluetooth"),
        tree("/etc/xinetd.d"),
        file("/etc/xinetd.conf"),
        file("/etc/inetd.conf"),
        file("/etc/exports"),
        tree("/etc/exports.d"),
        tree("/etc/snmp"),
        tree("/etc/docker"),
        tree("/etc/containers"),
        tree("/etc/subversion"),
    ],
)];

/// Paths in each folder of `/usr/lib` for an architecture, by kind.
pub(super) const IN_LIBRARIES: &[(Kind, WatchedPath)] = &[
    (Kind::Programs, by_times("", 1)),
    (Kind::Programs, by_times("systemd", 1)),
    (Kind::Pam, tree("security")),
];

/// A version of these lists and of the form of entries: a snapshot of an earlier jitd is compared only as far as both
/// agree.
pub(super) fn list() -> String {
    let system: Vec<_> = system().collect();
    let list = format!("2 {system:?} {IN_LIBRARIES:?} {IN_HOMES:?} {IN_ROOTS_HOMES:?}");
    super::print::print_of(list.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_is_listed_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for watched in system().flat_map(|(_, places)| places) {
            assert!(seen.insert(watched.path), "{}", watched.path);
        }
    }
}
