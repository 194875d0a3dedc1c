//! Reads files by name: bounded, without following links, without blocking.
//!
//! The owner of a file may try to hide it or to block the scan. So a file is opened only if it is a plain one, and
//! without blocking; a folder is entered through the descriptor of the one above it; every read is bounded.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, lgetxattr, major, minor, openat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::core::drift::kind::Kind;
use crate::drift::path_text::text_of;
use crate::drift::print::print_by_times;
use crate::drift::snapshot::{Entry, EntryKind};

/// The digest of a plain file; for a file of more than `max` bytes, its inode data. Subtracts the bytes read from
/// `left`.
pub(super) fn print(
    above: impl AsFd,
    name: &CStr,
    stat: &Stat,
    max: u64,
    left: &mut u64,
    buffer: &mut [u8],
) -> Result<String, Errno> {
    let max = max.min(*left);
    if u64::try_from(stat.st_size).is_ok_and(|size| size > max) {
        return Ok(print_by_times(stat));
    }
    let mut file = open_plain(above, name)?;
    let mut digest = Sha256::new();
    let mut read = 0;
    loop {
        let length = match file.read(buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(errno(&error)),
        };
        digest.update(buffer.get(..length).unwrap_or_default());
        read += length as u64;
        // The file grows while it is read.
        if read > max {
            return Ok(print_by_times(stat));
        }
    }
    *left = left.saturating_sub(read);
    Ok(hex::encode(digest.finalize()))
}

/// Opens a plain file: no link, and no file whose open could block.
pub(super) fn open_plain(above: impl AsFd, name: &CStr) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(above, name, flags, Mode::empty())?;
    // The name may lead to another file by now.
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::AGAIN);
    }
    Ok(File::from(file))
}

/// Enters a folder; a link is an error.
pub(super) fn enter(above: impl AsFd, name: &CStr) -> Result<std::os::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(above, name, flags, Mode::empty())
}

pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// A FIFO, a socket or a device.
pub(super) fn special(stat: &Stat) -> EntryKind {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => "block",
        FileType::CharacterDevice => "character",
        _ => return EntryKind::Special,
    };
    EntryKind::Device { which: format!("{kind} {}:{}", major(stat.st_rdev), minor(stat.st_rdev)) }
}

/// The entry of an inode.
pub(super) fn entry(kind: Kind, what: EntryKind, stat: &Stat, capabilities: u64, acl: String) -> Entry {
    let micros = i64::try_from(stat.st_ctime_nsec / 1000).unwrap_or(0);
    Entry {
        what,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        capabilities,
        changed_at: stat.st_ctime.saturating_mul(1_000_000).saturating_add(micros),
        acl,
        kind,
    }
}

/// Whether a user other than root may write it, by mode, owner and ACL. Where an ACL lets a named user or group write,
/// its mask is in the group bits of the mode (acl(5), "Correspondence between ACL entries and file permission bits").
pub(super) fn others_may_write(stat: &Stat, acl: &str) -> bool {
    stat.st_uid != 0
        || stat.st_mode & 0o002 != 0
        || stat.st_mode & 0o020 != 0 && (stat.st_gid != 0 || !acl.is_empty())
}

/// The permitted set of a file's capabilities: `vfs_cap_data` of linux/capability.h, little-endian words.
pub(super) fn capabilities(folder: impl AsFd, name: &CStr) -> Result<u64, Errno> {
    let mut data = [0_u8; 64];
    let length = xattr(folder, name, c"security.capability", &mut data)?;
    let word = |at: usize| {
        let bytes = data.get(at..at + 4).filter(|_| at + 4 <= length);
        bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    Ok(u64::from(word(4)) | u64::from(word(12)) << 32)
}

/// The named users and groups of a file's access ACL, and the whole default ACL of a folder, as text; empty without
/// one.
pub(super) fn acl(folder: impl AsFd, name: &CStr, is_folder: bool) -> Result<String, Errno> {
    // xattr(7): a value has at most 64 KiB.
    let mut data = vec![0_u8; 4096];
    let mut read = |which: &CStr| -> Result<Vec<u8>, Errno> {
        let length = match xattr(&folder, name, which, &mut data) {
            Err(Errno::RANGE) => {
                data.resize(1 << 16, 0);
                xattr(&folder, name, which, &mut data)?
            }
            other => other?,
        };
        Ok(data.get(..length).unwrap_or_default().to_vec())
    };
    let mut text = acl_text(&read(c"system.posix_acl_access")?, false);
    if is_folder {
        let default = acl_text(&read(c"system.posix_acl_default")?, true);
        if !default.is_empty() {
            let comma = if text.is_empty() { "" } else { ", " };
            text.push_str(&format!("{comma}for new files: {default}"));
        }
    }
    Ok(text)
}

/// `struct posix_acl_xattr_header` and its entries (linux/posix_acl_xattr.h), little-endian.
fn acl_text(data: &[u8], whole: bool) -> String {
    let mut words = Vec::new();
    let mut named = false;
    for entry in data.get(4..).unwrap_or_default().chunks_exact(8) {
        let (tag, bits) = (u16::from_le_bytes([entry[0], entry[1]]), entry[2]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let may: String = [(4, 'r'), (2, 'w'), (1, 'x')]
            .map(|(bit, c)| if bits & bit == 0 { '-' } else { c })
            .iter()
            .collect();
        named |= matches!(tag, 0x02 | 0x08);
        words.push(match tag {
            0x01 => format!("owner {may}"),
            0x02 => format!("uid {id} {may}"),
            0x04 => format!("group {may}"),
            0x08 => format!("gid {id} {may}"),
            0x10 => format!("mask {may}"),
            _ => format!("others {may}"),
        });
    }
    // Without named entries an access ACL says no more than the mode.
    if named || whole { words.join(" ") } else { String::new() }
}

/// Reads an extended attribute, without following a link; 0 where there is none.
fn xattr(folder: impl AsFd, name: &CStr, which: &CStr, data: &mut [u8]) -> Result<usize, Errno> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_fd().as_raw_fd()).into_bytes();
    path.extend(name.to_bytes());
    match lgetxattr(path.as_slice(), which, data) {
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(0),
        other => other,
    }
}

/// A path with a name appended.
pub(super) fn below(path: &str, name: &CStr) -> String {
    format!("{path}/{}", text_of(std::ffi::OsStr::from_bytes(name.to_bytes()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_is_told_where_it_names_somebody() {
        let entry = |tag: u16, perm: u16, id: u32| {
            [&tag.to_le_bytes()[..], &perm.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
        };
        let minimal =
            [&2_u32.to_le_bytes()[..], &entry(1, 7, !0), &entry(4, 5, !0), &entry(0x20, 5, !0)].concat();
        assert_eq!(acl_text(&minimal, false), "");
        assert_eq!(acl_text(&minimal, true), "owner rwx group r-x others r-x");
        let named = [&minimal[..], &entry(2, 7, 2004), &entry(0x10, 7, !0)].concat();
        assert_eq!(acl_text(&named, false), "owner rwx group r-x others r-x uid 2004 rwx mask rwx");
        assert_eq!(acl_text(b"", false), "");
        assert_eq!(acl_text(b"\x02\x00\x00\x00\x01", false), "", "cut short");
    }
}
