//! The paths of a host where privilege is kept: the list that a drift scan reads.

mod homes;
mod identity;
mod platform;
mod programs;

use crate::core::drift::kind::Kind;

pub(super) use homes::{IN_HOMES, IN_ROOTS_HOMES};

/// A file, or a folder with everything in it down to a depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct WatchedPath {
    /// Where.
    pub(super) path: &'static str,
    /// How many levels of folders are looked into; 0 for a file.
    pub(super) depth: u32,
    /// Whether contents are compared; otherwise inode, size and times stand for them, and folders below the depth are left
    /// out without a word.
    pub(super) read: bool,
}

const fn file(path: &'static str) -> WatchedPath {
    WatchedPath { path, depth: 0, read: true }
}

const fn tree(path: &'static str) -> WatchedPath {
    WatchedPath { path, depth: 8, read: true }
}

/// Programs, libraries and other large things, so many levels deep.
const fn by_times(path: &'static str, depth: u32) -> WatchedPath {
    WatchedPath { path, depth, read: false }
}

/// What is watched on every host, by what it is about. A path that does not exist is no mistake; one that appears is a
/// finding. Where one path lies in another, the one that comes later in this order says what it is about.
pub(super) fn system() -> impl Iterator<Item = (Kind, &'static [WatchedPath])> {
    [OTHER, identity::IDENTITY, programs::PROGRAMS, platform::PLATFORM].into_iter().flatten().copied()
}

/// What no other list is about, before all of them.
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

/// In each folder of `/usr/lib` for an architecture, and what it is about.
pub(super) const IN_LIBRARIES: &[(Kind, WatchedPath)] = &[
    (Kind::Programs, by_times("", 1)),
    (Kind::Programs, by_times("systemd", 1)),
    (Kind::Pam, tree("security")),
];

/// Names these lists and how entries are made: a snapshot of an earlier daemon is compared only as far as both agree.
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
