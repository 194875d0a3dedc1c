//! How far a report is, on a terminal's stderr; nothing elsewhere.

use jit_proto::bus::view::RecordView;

use crate::output::Output;

/// So many records are read between two lines.
const STEP: usize = 5000;

/// How far it is.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    last: u64,
    output: Option<&'a Output>,
}

impl<'a> Progress<'a> {
    /// Of a record that ends with this number; silent without an output.
    pub(super) fn new(last: u64, output: Option<&'a Output>) -> Self {
        Self { last, output }
    }

    /// So far these records are read.
    pub(super) fn read(&self, records: &[RecordView]) {
        if records.len() % STEP < 1000
            && let Some(record) = records.last()
        {
            self.tells(&format!("reading record {} of {}", record.seq, self.last));
        }
    }

    /// What is done now.
    pub(super) fn tells(&self, what: &str) {
        if let Some(output) = self.output {
            output.progress(what);
        }
    }
}

/// The line goes with it, also where the report fails.
impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.tells("");
    }
}
