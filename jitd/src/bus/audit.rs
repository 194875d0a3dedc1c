//! org.jitd.Jit1.Audit: the audit log, for callers who may read it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd as StdFd;
use std::path::PathBuf;
use std::sync::Arc;

use jit_proto::audit::chain::{Head, Sealed};
use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::Record;
use jit_proto::audit::seal::SealKey;
use jit_proto::bus::dict::{Dict, from_dict, to_dict, to_dicts};
use jit_proto::bus::view::{RecordView, SealView, VerifyView};
use jit_proto::escape::Escaped;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::sync::Mutex;
use zbus::OwnedFd;
use zbus::object_server::SignalEmitter;

use super::Failure;
use super::admission::Admission;
use super::arguments::{Options, findings_of, reason_of};
use super::commands::commands;
use crate::core::audit_log::AuditCommand;
use crate::core::authority::CommandKind;
use crate::core::command::Command;
use crate::engine::handle::Handle;
use crate::store::{Index, Reader, StoreError};

/// Records per call.
const MAX_RECORDS: u64 = 1000;

type Dicts = Vec<Dict>;
type Numbers = Vec<u64>;

#[derive(Clone)]
pub(super) struct Audit {
    engine: Handle,
    admission: Admission,
    /// One seal is begun at a time, on either socket, so that each key gets its own record number.
    sealing: Arc<Mutex<()>>,
}

impl Audit {
    pub(super) fn new(engine: Handle, admission: Admission) -> Self {
        Self { engine, admission, sealing: Arc::new(Mutex::new(())) }
    }

    /// A reader, and the head of the chain as the engine has it; the caller has been admitted.
    async fn reader(&self) -> Result<(Reader, Head), Failure> {
        let (path, head) = self.store().await?;
        Ok((Reader::open(&path)?, head))
    }

    /// The path of the store, and the head of the chain as the engine has it.
    async fn store(&self) -> Result<(PathBuf, Head), Failure> {
        Ok(self
            .engine
            .look(|snapshot| (snapshot.store.path().to_owned(), snapshot.store.head().clone()))
            .await?)
    }
}

commands! {
    #[interface(name = "org.jitd.Jit1.Audit")]
    impl Audit {
        #[zbus(out_args("records"))]
        AuditRead: async fn read(self, _caller, from_seq: u64, limit: u64) -> Dicts {
            let (reader, head) = self.reader().await?;
            let limit = limit.min(MAX_RECORDS);
            let from = if from_seq == 0 { (head.seq + 1).saturating_sub(limit).max(1) } else { from_seq };
            let read = tokio::task::spawn_blocking(move || reader.records(from, limit));
            let records = read.await.map_err(|error| Failure::Failed(error.to_string()))??;
            Ok(to_dicts(&views(records))?)
        }

        #[zbus(out_args("records"))]
        AuditSearch: async fn search(self, _caller, filter: Dict, from_seq: u64, limit: u64) -> Dicts {
            let (path, _) = self.store().await?;
            let filter: Filter = from_dict(filter)
                .map_err(|error| Failure::InvalidArgument(Escaped(&error.to_string()).to_string()))?;
            if filter.host.as_ref().is_some_and(|host| !is_this_host(host)) {
                return Ok(Vec::new());
            }
            let limit = limit.min(MAX_RECORDS);
            let search = tokio::task::spawn_blocking(move || {
                if filter.walk == Some(true) {
                    return Reader::open(&path)?.walk(&filter, from_seq, limit);
                }
                let mut index = Index::open(&path)?;
                index.catch_up()?;
                index.search(&filter, from_seq, limit)
            });
            let records = search.await.map_err(|error| Failure::Failed(error.to_string()))??;
            Ok(to_dicts(&views(records))?)
        }

        #[zbus(out_args("result"))]
        AuditVerify: async fn verify(self, _caller) -> Dict {
            let (reader, head) = self.reader().await?;
            let (problems, acknowledged) = self
                .engine
                .look(|snapshot| (snapshot.problems(), snapshot.store.acknowledged_problems()))
                .await?;
            let walk = tokio::task::spawn_blocking(move || {
                let first = reader.first()?;
                Ok::<_, StoreError>((first, reader.verify(Some(&head))?))
            });
            let (first, walked) = walk.await.map_err(|error| Failure::Failed(error.to_string()))??;
            let first_time = first.as_ref().and_then(|record| time_of(&record.line)).unwrap_or_default();
            let first = first.map_or(0, |record| record.seq);
            let view = match walked {
                Ok(whole) => VerifyView { first_time, problems, acknowledged, ..whole.into() },
                Err((whole_to, broken)) => VerifyView {
                    records: whole_to.seq,
                    head: whole_to.hash.to_string(),
                    bad_seq: broken.seq,
                    problem: broken.problem,
                    first: if whole_to.seq > 0 { first } else { 0 },
                    first_time,
                    problems,
                    acknowledged,
                    ..VerifyView::default()
                },
            };
            Ok(to_dict(&view)?)
        }

        /// The head of the chain as the running daemon has it, whatever the store contains.
        #[zbus(out_args("seq", "hash"))]
        AuditHead: async fn head(self, _caller) -> (u64, String) {
            let (_, head) = self.reader().await?;
            Ok((head.seq, head.hash.to_string()))
        }

        /// Begins a seal. Its first key is written into the caller's pipe, not to the bus, which would keep it in
        /// memory.
        #[zbus(out_args("seal"))]
        Seal: async fn seal(self, caller, key_out: OwnedFd, options: Options) -> Dict {
            let again = options.get("rotate").map(bool::try_from).transpose();
            let again = again.map_err(|_| Failure::InvalidArgument("option rotate is not a boolean".into()))?;
            let mut key_out = pipe(key_out.into())
                .map_err(|why| Failure::InvalidArgument(format!("key_out takes no key: {why}")))?;
            let _one_at_a_time = self.sealing.lock().await;
            let mut bytes = [0; 32];
            match getrandom(&mut bytes, GetRandomFlags::empty()) {
                Ok(32) => {}
                Ok(_) => return Err(Failure::Failed("the kernel gave too little randomness".into())),
                Err(error) => return Err(Failure::Failed(format!("the kernel gave no randomness: {error}"))),
            }
            let key = SealKey::taking(&mut bytes);
            let command = AuditCommand::Seal { key: key.clone(), again: again.unwrap_or(false) };
            self.engine.command(caller, Command::AuditLog(command)).await??;
            let first = self.engine.look(|snapshot| snapshot.store.seal_first()).await?;
            let view = SealView { first, seal_key: key.id() };
            key_out.write_all(key.to_hex().as_bytes()).map_err(|error| {
                let id = &view.seal_key;
                Failure::Failed(format!(
                    "the seal {id} has begun, but its first key could not be handed over ({error}); begin another"
                ))
            })?;
            Ok(to_dict(&view)?)
        }

        /// Records what `jitctl doctor` finds open, what of that is new, and what was mended.
        #[zbus(out_args())]
        Doctor: async fn doctor(
            self,
            caller,
            open: Vec<String>,
            opened: Vec<String>,
            mended: Vec<String>,
            _options: Options,
        ) -> () {
            let (open, opened, mended) = (findings_of(open)?, findings_of(opened)?, findings_of(mended)?);
            if opened.is_empty() && mended.is_empty() {
                return Err(Failure::InvalidArgument("nothing has changed, so there is nothing to record".into()));
            }
            let command = AuditCommand::Doctor { open, opened, mended };
            self.engine.command(caller, Command::AuditLog(command)).await??;
            Ok(())
        }

        /// Acknowledges the open problem of a record, or with 0 all open problems.
        #[zbus(out_args("records"))]
        Acknowledge: async fn acknowledge(
            self,
            caller,
            record: u64,
            reason: String,
            _options: Options,
        ) -> Numbers {
            let reason = reason_of(reason)?;
            let mut records = self.engine.look(|snapshot| snapshot.store.open_problems()).await?;
            records.retain(|open| record == 0 || *open == record);
            if records.is_empty() {
                let which = if record == 0 { String::new() } else { format!(" in record {record}") };
                return Err(Failure::NoSuch(format!("there is no open problem of the audit log{which}")));
            }
            let command = AuditCommand::Acknowledge { records: records.clone(), reason };
            self.engine.command(caller, Command::AuditLog(command)).await??;
            Ok(records)
        }
    }
    beside {
        #[zbus(signal)]
        async fn records_written(emitter: &SignalEmitter<'_>, head_seq: u64) -> zbus::Result<()>;

        #[zbus(signal)]
        async fn alert_raised(emitter: &SignalEmitter<'_>, seq: u64) -> zbus::Result<()>;

        /// The host name for filters of this host's records.
        #[zbus(property(emits_changed_signal = "const"))]
        async fn host(&self) -> String {
            host_name()
        }
    }
}

/// The write end of a pipe, without blocking (pipe(7)): the caller may never read it, or may pass a file on a file system of
/// their own instead, and no other seal waits for that.
fn pipe(given: StdFd) -> io::Result<File> {
    if FileType::from_raw_mode(fstat(&given)?.st_mode) != FileType::Fifo {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no pipe"));
    }
    fcntl_setfl(&given, fcntl_getfl(&given)? | OFlags::NONBLOCK)?;
    Ok(File::from(given))
}

/// The time in a record.
fn time_of(line: &str) -> Option<String> {
    serde_json::from_str::<Record>(line).ok().map(|record| record.time)
}

fn views(records: Vec<Sealed>) -> Vec<RecordView> {
    records
        .into_iter()
        .map(|r| RecordView { seq: r.seq, hash: r.hash, seal: r.seal.unwrap_or_default(), line: r.line })
        .collect()
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// Whether a name is this host's, whole or up to the first dot.
fn is_this_host(name: &str) -> bool {
    let own = host_name();
    let short = own.split('.').next().unwrap_or_default();
    !name.is_empty() && (name.eq_ignore_ascii_case(&own) || name.eq_ignore_ascii_case(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_into_a_pipe_and_nothing_waits_for_whoever_reads_it() {
        let (from_us, to_them) = io::pipe().unwrap();
        let mut full = pipe(to_them.into()).unwrap();
        while full.write(&[0; 4096]).is_ok() {}
        let waits = full.write_all(&[0; 64]).unwrap_err();
        assert_eq!(waits.kind(), io::ErrorKind::WouldBlock);
        drop(from_us);
        assert_eq!(full.write_all(&[0; 64]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let file = tempfile::tempfile().unwrap();
        assert!(pipe(file.into()).unwrap_err().to_string().contains("no pipe"));
    }
}
