//! Prints of files: a digest of the contents, or data of the inode for a file that is not read.

use rustix::fs::Stat;
use sha2::{Digest, Sha256};

/// The beginning of a print that is not a digest: inode, size and times of a file that was not read.
const BY_TIMES: &str = "ino ";

/// Whether a print is a digest.
pub(super) fn is_of_content(print: &str) -> bool {
    !print.starts_with(BY_TIMES)
}

/// The print of a file that is not read: each write changes one of these values.
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
