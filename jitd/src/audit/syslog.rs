//! Sends records to the local syslog socket, one datagram each.

use std::fmt;
use std::io;
use std::path::PathBuf;

use jit_proto::audit::chain::Sealed;
use syslog::{Logger, LoggerBackend};
use thiserror::Error;

use super::datagram::MAX_SEND_TIME;
use super::heartbeat::Heartbeat;
use super::journal::{self, Journal};
use super::receiver::Receiver;
use super::sink::{SendError, Sink};
use super::syslog_line::{self, Rfc5424};
use crate::core::policy::SinkSettings;

/// Sends RFC 5424 messages. Where the socket is journald's, whose parser does not know them, it sends native messages.
pub(super) struct Syslog {
    journald: Option<Journal>,
    socket: PathBuf,
    enterprise: u32,
    line: Option<Line>,
}

/// A connection, and the receiver at its other end.
struct Line {
    logger: Logger<LoggerBackend, Rfc5424>,
    receiver: Receiver,
}

/// Why there is no connection to the socket.
#[derive(Debug, Error)]
enum ConnectError {
    /// The socket cannot be looked at or set up.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The `syslog` crate could not connect.
    #[error("{}", innermost(.0))]
    Logger(#[from] syslog::Error),
}

impl Syslog {
    pub(super) fn new() -> Self {
        let SinkSettings { syslog_socket, syslog_enterprise, .. } = SinkSettings::default();
        Self { journald: None, socket: syslog_socket, enterprise: syslog_enterprise, line: None }
    }

    fn logger(&mut self) -> Result<&mut Logger<LoggerBackend, Rfc5424>, SendError> {
        let line = match self.line.take() {
            Some(line) => line,
            None => self.connect().map_err(|error| self.lost(&error))?,
        };
        Ok(&mut self.line.insert(line).logger)
    }

    fn lost(&self, error: &impl fmt::Display) -> SendError {
        SendError::Lost(format!("{}: {error}", self.socket.display()))
    }

    fn sent(&self, sent: syslog::Result<()>) -> Result<(), SendError> {
        let Err(error) = sent else { return Ok(()) };
        match io_error(&error).map(io::Error::kind) {
            // MAX_SEND_TIME has passed: the receiver's queue is full.
            Some(io::ErrorKind::WouldBlock) => {
                Err(SendError::Full(format!("{}: its queue is full", self.socket.display())))
            }
            _ => Err(self.lost(&innermost(&error))),
        }
    }

    fn connect(&self) -> Result<Line, ConnectError> {
        let receiver = Receiver::at(&self.socket)?;
        let logger = syslog::unix_custom(Rfc5424::new(self.enterprise), &self.socket)?;
        if let LoggerBackend::Unix(socket) = &logger.backend {
            socket.set_write_timeout(Some(MAX_SEND_TIME))?;
        }
        Ok(Line { logger, receiver })
    }
}

impl Sink for Syslog {
    fn configure(&mut self, settings: &SinkSettings) -> bool {
        if self.socket != settings.syslog_socket || self.enterprise != settings.syslog_enterprise {
            self.socket.clone_from(&settings.syslog_socket);
            self.enterprise = settings.syslog_enterprise;
            self.line = None;
        }
        self.journald = journal::is_behind(&self.socket)
            .then(|| Journal::for_syslog(settings.syslog_enterprise, settings.journal));
        true
    }

    fn send(&mut self, sealed: &Sealed) -> Result<(), SendError> {
        if let Some(journald) = &mut self.journald {
            return journald.send(sealed);
        }
        let sent = syslog_line::send(self.logger()?, sealed);
        self.sent(sent)
    }

    fn has_read_all(&mut self) -> Result<bool, SendError> {
        if let Some(journald) = &mut self.journald {
            return journald.has_read_all();
        }
        match &self.line {
            Some(Line { logger: Logger { backend: LoggerBackend::Unix(socket), .. }, receiver }) => {
                receiver.has_read_all(socket).map_err(|error| SendError::Lost(error.to_string()))
            }
            Some(_) => Err(SendError::Lost("no datagram socket".to_owned())),
            None => Ok(true),
        }
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), SendError> {
        if let Some(journald) = &mut self.journald {
            return journald.heartbeat(heartbeat);
        }
        let sent = syslog_line::send_heartbeat(self.logger()?, heartbeat);
        self.sent(sent)
    }

    fn disconnect(&mut self) {
        self.journald.iter_mut().for_each(Sink::disconnect);
        self.line = None;
    }
}

fn io_error(error: &syslog::Error) -> Option<&io::Error> {
    let mut inner: &dyn std::error::Error = error;
    loop {
        match inner.downcast_ref::<io::Error>() {
            Some(found) => return Some(found),
            None => inner = inner.source()?,
        }
    }
}

/// The text of the error at the end of the chain of sources: the crate's own texts do not say what failed.
fn innermost(error: &syslog::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
