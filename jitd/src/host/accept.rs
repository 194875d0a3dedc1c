//! Accepts connections from a listening socket, and keeps on after errors of the kernel.

use std::io;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tracing::{info, warn};

use crate::host::clock::pause;

/// The delay after a failed accept(2). Its errors last: EMFILE and ENFILE until descriptors are closed, while the
/// socket stays readable.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: UnixListener,
    /// The path, for the log.
    path: &'static str,
    failures: Failures,
}

impl Acceptor {
    pub(crate) fn new(listener: UnixListener, path: &'static str) -> Self {
        Self { listener, path, failures: Failures::default() }
    }

    /// The next connection. Cancel safe: connections stay in the socket's queue.
    pub(crate) async fn next(&mut self) -> UnixStream {
        let Self { listener, path, failures } = self;
        let listener = &*listener;
        failures.until_accepted(path, || async move { Ok(listener.accept().await?.0) }).await
    }
}

/// The number of failures in a row.
#[derive(Debug, Default)]
struct Failures(u64);

impl Failures {
    async fn until_accepted<T, A: Future<Output = io::Result<T>>>(
        &mut self,
        path: &str,
        mut accept: impl FnMut() -> A,
    ) -> T {
        loop {
            match self.note(path, accept().await) {
                Some(stream) => return stream,
                None => pause(RETRY_AFTER).await,
            }
        }
    }

    /// Logs the first failure of a row, and the end of the row.
    fn note<T>(&mut self, path: &str, accepted: io::Result<T>) -> Option<T> {
        match accepted {
            Ok(stream) => {
                let failed = std::mem::take(&mut self.0);
                if failed > 0 {
                    info!("{path}: connections are accepted again, after {failed} failures");
                }
                Some(stream)
            }
            Err(error) => {
                if self.0 == 0 {
                    warn!(
                        "{path}: no connection can be accepted, trying again every {RETRY_AFTER:?}: {error}"
                    );
                }
                self.0 += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::Stopwatch;

    #[test]
    fn a_failure_that_lasts_is_waited_out_and_not_spun_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let begun = Stopwatch::start();
        let mut calls = 0;
        let mut failures = Failures::default();
        let accepted = runtime.block_on(failures.until_accepted("socket", || {
            calls += 1;
            std::future::ready(if calls <= 3 {
                Err(io::Error::from_raw_os_error(libc::EMFILE))
            } else {
                Ok(calls)
            })
        }));
        assert_eq!((accepted, failures.0), (4, 0));
        assert!(begun.elapsed() >= RETRY_AFTER * 3);
    }
}
