//! Output: data goes to stdout, everything else to stderr.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};

use jit_proto::bus::names::error;
use jit_proto::bus::view::RecordView;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::pager::{Choice, Pager, is_rewritable};
use crate::render::layout::Sheet;
use crate::{clock, json};

/// The two streams, and their form.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    terminal: bool,
    width: Option<u16>,
    reader_gone: Cell<bool>,
    paging: RefCell<Paging>,
}

/// Whether text goes through a pager.
#[derive(Debug)]
enum Paging {
    /// No pager.
    Off,
    /// A pager that starts with the first text.
    Wanted(Choice),
    /// A running pager.
    On(Pager),
    /// The reader has closed it.
    Left,
}

impl Output {
    /// The streams of this process.
    pub(crate) fn new(json: bool) -> Self {
        // comfy-table has a width only where stdout is a terminal. A narrower terminal, or one of unknown size, breaks
        // the lines itself.
        let width = comfy_table::Table::new().width().filter(|width| *width >= 40);
        Self {
            json,
            terminal: io::stdout().is_terminal(),
            width,
            reader_gone: Cell::new(false),
            paging: RefCell::new(Paging::Off),
        }
    }

    /// Whether JSON is wanted.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether stdout is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The width of tables: the terminal's columns; unlimited without a terminal or with `--wide`.
    pub(crate) fn sheet(&self, full: bool) -> Sheet {
        let width = self.width.filter(|_| !full);
        Sheet { width, zone: jiff::tz::TimeZone::system(), now: clock::now() }
    }

    /// Uses a pager for text longer than a screen, on a terminal.
    pub(crate) fn page(&self) {
        if self.terminal && !self.json {
            self.paging.replace(Paging::Wanted(Choice::of_environment()));
        }
    }

    /// Waits until the reader has closed the pager, if there is one.
    pub(crate) fn finish(&self) {
        if let Paging::On(pager) = self.paging.replace(Paging::Off) {
            self.end(pager);
        }
    }

    /// Ends a pager, and prints its text where it could not be run; returns whether that was so.
    fn end(&self, pager: Pager) -> bool {
        let Some(unread) = pager.finish() else { return false };
        self.talk("the pager that $PAGER names cannot be run; set PAGER=less, or PAGER=cat for none");
        // The verb has ended, or gets the error with its next text.
        let _ = self.text(&unread);
        true
    }

    fn to_pager(&self, text: &str) -> Option<io::Result<()>> {
        let mut paging = self.paging.borrow_mut();
        if let Paging::Wanted(choice) = &*paging {
            *paging = Pager::start(choice).map_or(Paging::Off, Paging::On);
        }
        let pager = match &mut *paging {
            Paging::On(pager) => pager,
            Paging::Left => return Some(Err(io::ErrorKind::BrokenPipe.into())),
            _ => return None,
        };
        let written = pager.write(text);
        if written.as_ref().is_err_and(|why| why.kind() == io::ErrorKind::BrokenPipe)
            && let Paging::On(pager) = std::mem::replace(&mut *paging, Paging::Off)
        {
            drop(paging);
            if self.end(pager) {
                return Some(Ok(()));
            }
            self.paging.replace(Paging::Left);
        }
        Some(written)
    }

    /// Whether the reader of stdout has gone (`jitctl audit show | head`), so that more output is useless.
    pub(crate) fn is_reader_gone(&self) -> bool {
        self.reader_gone.get()
    }

    /// Prints data for people: complete lines, already escaped.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        if let Some(result) = self.to_pager(text) {
            return self.written(result);
        }
        let mut stdout = anstream::stdout().lock();
        self.written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
    }

    /// Prints one JSON document.
    pub(crate) fn document<T: Serialize>(&self, view: &T) -> Result<(), Failure> {
        let document = json::document(view).map_err(|why| Failure::strange_answer("the call", &why))?;
        self.raw_line(&document)
    }

    /// Prints text unchanged, without anstream.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        self.written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
    }

    /// Prints one audit record as a line of JSON.
    pub(crate) fn record(&self, record: &RecordView) -> Result<(), Failure> {
        self.raw_line(&json::record(record, self.terminal))
    }

    /// Prints a view: as JSON if that is wanted, else as `text` puts it.
    pub(crate) fn view<T: Serialize>(
        &self,
        view: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json { self.document(view) } else { self.text(&text(view)) }
    }

    /// Prints a list; an empty one is a sentence on stderr, unless JSON is wanted.
    pub(crate) fn list<T: Serialize>(
        &self,
        views: &[T],
        empty: &str,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            self.document(&views)
        } else if views.is_empty() {
            self.talk(empty);
            Ok(())
        } else {
            self.text(&text(views))
        }
    }

    /// Prints a message that is not data.
    pub(crate) fn talk(&self, sentence: &str) {
        // If stderr is closed, the error cannot be reported anywhere.
        let _ = writeln!(anstream::stderr().lock(), "{sentence}");
    }

    /// Shows progress on one line of the terminal, which replaces the last one; nothing if stderr is no terminal. The
    /// text is jitctl's own and needs no escaping.
    pub(crate) fn progress(&self, what: &str) {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() && is_rewritable() {
            // As for talk.
            let _ = write!(stderr, "\r\x1b[K{what}").and_then(|()| stderr.flush());
        }
    }

    /// Reports a failure, in JSON too if that is wanted.
    pub(crate) fn failure(&self, failure: &Failure) -> Exit {
        self.talk(&format!("jitctl: {failure}"));
        if self.json {
            self.talk(&json::failure(failure));
        }
        failure.exit
    }

    /// Prints JSON without anstream, which would search it for terminal sequences.
    fn raw_line(&self, line: &str) -> Result<(), Failure> {
        self.raw(&format!("{line}\n"))
    }

    /// Ignores that the reader has gone: the command is done, and the exit status says so.
    fn written(&self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Err(why) if why.kind() == io::ErrorKind::BrokenPipe => {
                self.reader_gone.set(true);
                Ok(())
            }
            other => other.map_err(|why| {
                Failure::new(Exit::Failed, error::FAILED, &format!("the output cannot be written: {why}"))
            }),
        }
    }
}
