//! Appends records to a file of JSON lines, for agents that read files.
//!
//! Each line is what `jitctl audit export --format jsonl` prints, so that chain and seal can be verified from the files
//! alone; a new file continues the chain of the last one. The files are only appended to.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jit_proto::audit::chain::Sealed;
use jit_proto::audit::copies::{Line, exported, read as read_line};
use tracing::debug;

use super::heartbeat::Heartbeat;
use super::sink::{SendError, Sink};
use crate::core::policy::SinkSettings;

/// The file; older ones are called `audit.jsonl.1` and so on, the oldest with the highest number.
const PATH: &str = "/var/log/jitd/audit.jsonl";
/// The folder is root's (systemd's `LogsDirectory=`); an agent that is not root is let in by an ACL.
const MODE: u32 = 0o640;

/// Bytes at the end of the files that are searched for records that are sent again: more than are ever unconfirmed.
const MAX_TAIL_BYTES: u64 = 1 << 20;

/// Writes the file.
pub(super) struct JsonLines {
    path: PathBuf,
    most_bytes: u64,
    keep: u32,
    file: Option<File>,
    length: u64,
    /// Lines have been written since the last fdatasync.
    unsynced: bool,
    /// Records at the end of the files when they were opened, by number and hash: after a crash the last ones are sent
    /// again.
    found: BTreeSet<(u64, String)>,
}

impl JsonLines {
    pub(super) fn new() -> Self {
        Self::at(Path::new(PATH))
    }

    fn at(path: &Path) -> Self {
        let SinkSettings { json_lines_max_size, json_lines_keep, .. } = SinkSettings::default();
        let (most_bytes, keep) = (json_lines_max_size, json_lines_keep);
        Self {
            path: path.to_owned(),
            most_bytes,
            keep,
            file: None,
            length: 0,
            unsynced: false,
            found: BTreeSet::new(),
        }
    }

    /// Writes a record that the files do not have yet.
    fn put(&mut self, sealed: &Sealed) -> io::Result<()> {
        if self.file.is_none() {
            let file = self.open()?;
            self.file = Some(file);
            self.found = self.tail();
        }
        if self.found.remove(&(sealed.seq, sealed.hash.clone())) {
            return Ok(());
        }
        if self.found.last().is_some_and(|(last, _)| *last < sealed.seq) {
            self.found.clear();
        }
        self.write(&exported(sealed.as_stored()))
    }

    /// The records at the end of the files.
    fn tail(&self) -> BTreeSet<(u64, String)> {
        let mut found = BTreeSet::new();
        let mut room = MAX_TAIL_BYTES;
        for number in 0..=self.keep {
            let path = if number == 0 { self.path.clone() } else { self.older(number) };
            let mut end = Vec::new();
            let read = File::open(&path).and_then(|mut file| {
                let length = file.metadata()?.len();
                file.seek(SeekFrom::Start(length.saturating_sub(room)))?;
                file.take(room).read_to_end(&mut end)
            });
            match read {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && number > 0 => break,
                Err(error) => debug!("{}: {error}; records may stand in it twice", path.display()),
            }
            for line in String::from_utf8_lossy(&end).lines() {
                if let Line::Record(Sealed { seq, hash, .. }) = read_line(line) {
                    found.insert((seq, hash));
                }
            }
            room = room.saturating_sub(end.len() as u64);
            if room == 0 {
                break;
            }
        }
        found
    }

    /// The path of an older file.
    fn older(&self, number: u32) -> PathBuf {
        PathBuf::from(format!("{}.{number}", self.path.display()))
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let bytes = u64::try_from(line.len() + 1).unwrap_or(u64::MAX);
        if self.file.is_some() && self.length > 0 && self.length + bytes > self.most_bytes {
            self.rotate()?;
        }
        let mut file = match self.file.take() {
            Some(file) if is_still_at(&file, &self.path) => file,
            moved => {
                // Another program has moved the file away, as logrotate does.
                if let Some(file) = moved {
                    file.sync_data()?;
                }
                self.open()?
            }
        };
        // One write(2): a full disk can cut off the end of this line only.
        let written = file.write_all(format!("{line}\n").as_bytes());
        self.unsynced = true;
        if written.is_ok() {
            self.length += bytes;
            self.file = Some(file);
        }
        written
    }

    /// Opens the file to append to it. A line that a crash cut off is ended: it is no record, and the record is sent
    /// again.
    fn open(&mut self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(MODE).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(&self.path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        if self.length != meta.len() || meta.len() == 0 {
            // The unit's UMask= would take the group's permission. A new name has to survive a power cut.
            file.set_permissions(fs::Permissions::from_mode(MODE))?;
            sync_folder(&self.path)?;
        }
        self.length = meta.len();
        if self.length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                self.length += 1;
            }
        }
        Ok(file)
    }

    /// Renames the full file to `.1` and each older one to the next number; the oldest is overwritten.
    fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        self.file = None;
        for number in (1..self.keep).rev() {
            match fs::rename(self.older(number), self.older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.older(1))?;
        sync_folder(&self.path)
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_ref().filter(|_| self.unsynced) {
            file.sync_data()?;
        }
        self.unsynced = false;
        Ok(())
    }

    fn lost(&self, error: &io::Error) -> SendError {
        SendError::Lost(format!("{}: {error}", self.path.display()))
    }
}

/// Forces the names in a file's folder to the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

impl Sink for JsonLines {
    fn configure(&mut self, settings: &SinkSettings) -> bool {
        (self.most_bytes, self.keep) = (settings.json_lines_max_size, settings.json_lines_keep);
        settings.json_lines
    }

    fn send(&mut self, sealed: &Sealed) -> Result<(), SendError> {
        self.put(sealed).map_err(|error| self.lost(&error))
    }

    fn has_read_all(&mut self) -> Result<bool, SendError> {
        self.sync().map(|()| true).map_err(|error| self.lost(&error))
    }

    /// The file holds the chain and nothing else.
    fn heartbeat(&mut self, _: &Heartbeat) -> Result<(), SendError> {
        Ok(())
    }

    fn disconnect(&mut self) {
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path).map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
    }

    #[test]
    fn a_full_file_gets_the_next_name_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut file = JsonLines { most_bytes: 10, keep: 2, ..JsonLines::at(&path) };
        for line in ["one-one", "two-two", "three-3", "four-44"] {
            file.write(line).unwrap();
        }
        assert_eq!(lines(&path), ["four-44"]);
        assert_eq!(lines(&folder.path().join("audit.jsonl.1")), ["three-3"]);
        assert_eq!(lines(&folder.path().join("audit.jsonl.2")), ["two-two"]);
        assert!(!folder.path().join("audit.jsonl.3").exists());
    }

    #[test]
    fn half_a_line_gets_an_end_and_what_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, "whole\nhal").unwrap();
        let mut file = JsonLines::at(&path);
        file.write("again").unwrap();
        assert_eq!(lines(&path), ["whole", "hal", "again"]);
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        file.write("next").unwrap();
        assert_eq!(lines(&path), ["next"]);
    }

    #[test]
    fn what_comes_again_after_a_sudden_end_is_written_once_and_what_differs_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let sealed = |seq: u64, hash: &str| Sealed { seq, hash: hash.into(), seal: None, line: "{}".into() };
        let mut file = JsonLines::at(&path);
        for seq in 1..=4 {
            file.put(&sealed(seq, "aa")).unwrap();
        }
        file.most_bytes = 1;
        file.put(&sealed(5, "aa")).unwrap();
        let mut again = JsonLines::at(&path);
        for seq in 3..=6 {
            again.put(&sealed(seq, "aa")).unwrap();
        }
        // An older store was put back: its record of this number is another one.
        let mut older = JsonLines::at(&path);
        older.put(&sealed(4, "bb")).unwrap();
        let all = [lines(&folder.path().join("audit.jsonl.1")), lines(&path)].concat();
        let numbers: Vec<String> = all.iter().map(|line| line[7..8].to_owned()).collect();
        assert_eq!(numbers.concat(), "1234564", "{all:?}");
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(JsonLines::at(&path).write("line").is_err());
    }
}
