//! The progress of a report, on a terminal's stderr; nothing elsewhere.

use jit_proto::bus::view::RecordView;

use crate::output::Output;

/// The number of records between two lines.
const STEP: usize = 5000;

/// The progress.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    last: u64,
    output: Option<&'a Output>,
}

impl<'a> Progress<'a> {
    /// Progress up to a last record; silent without an output.
    pub(super) fn new(last: u64, output: Option<&'a Output>) -> Self {
        Self { last, output }
    }

    /// The records up to this one are read.
    pub(super) fn read(&self, records: &[RecordView]) {
        if records.len() % STEP < 1000
            && let Some(record) = records.last()
        {
            self.tells(&format!("reading record {} of {}", record.seq, self.last));
        }
    }

    /// The present step.
    pub(super) fn tells(&self, what: &str) {
        if let Some(output) = self.output {
            output.progress(what);
        }
    }
}

/// The line is removed, also if the report fails.
impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.tells("");
    }
}
