//! The target of an export or a report: stdout, or a file that only its owner may read.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jit_proto::bus::names::error;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// The target of an export or a report.
pub(crate) enum Target<'a> {
    /// To stdout.
    Stdout(&'a Output),
    /// Into a file.
    File(PathBuf, BufWriter<File>),
}

impl<'a> Target<'a> {
    /// A file that only its owner reads, written anew; stdout if none is named.
    pub(crate) fn of(path: Option<&Path>, output: &'a Output) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Stdout(output)) };
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = opened.map_err(|why| unwritable(path, &why))?;
        Ok(Self::File(path.to_owned(), BufWriter::new(file)))
    }

    /// Writes text as it is.
    pub(crate) fn put(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Stdout(output) => output.raw(text),
            Self::File(path, file) => file.write_all(text.as_bytes()).map_err(|why| unwritable(path, &why)),
        }
    }

    /// Flushes the file.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(_) => Ok(()),
            Self::File(path, mut file) => file.flush().map_err(|why| unwritable(&path, &why)),
        }
    }

    /// Whether the target is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout(output) if output.is_terminal())
    }
}

fn unwritable(path: &Path, why: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, error::FAILED, &format!("{} cannot be written: {why}", path.display()))
}
