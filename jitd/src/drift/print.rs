//! Prints, which stand for the contents of files: a digest, or what the inode says of a file that was not read.

use rustix::fs::Stat;
use sha2::{Digest, Sha256};

/// What a print begins with that is not of the content: inode, size and times stand for a file that was not read.
const BY_TIMES: &str = "ino ";

/// Whether a print is that of a content.
pub(super) fn is_of_content(print: &str) -> bool {
    !print.starts_with(BY_TIMES)
}

/// Stands for a file that is not read: whoever writes it moves one of these.
pub(super) fn print_by_times(stat: &Stat) -> String {
    format!(
        "{BY_TIMES}{} size {} mtime {}.{} ctime {}.{}",
        stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec
    )
}

/// SHA-256 in hex.
pub(super) fn print_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
