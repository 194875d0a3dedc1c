//! org.jitd.Jit1.Audit: the record, for those who may read it.

use std::path::PathBuf;

use jit_proto::chain::{Head, Sealed};
use jit_proto::dict::{Dict, from_dict, to_dict, to_dicts};
use jit_proto::escape::Escaped;
use jit_proto::search::Filter;
use jit_proto::view::{RecordView, VerifyView};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::{Failure, caller};
use crate::core::event::Caller;
use crate::core::show::Look;
use crate::engine::Handle;
use crate::store::{Index, Reader};

/// No call returns more records than this.
const MOST_RECORDS: u64 = 1000;

pub(super) struct Audit {
    engine: Handle,
}

impl Audit {
    pub(super) fn new(engine: Handle) -> Self {
        Self { engine }
    }

    /// A reader for a caller who may read, and the chain's end as the engine remembers it.
    async fn reader(&self, caller: Caller) -> Result<(Reader, Head), Failure> {
        let (path, head) = self.store(caller).await?;
        Ok((Reader::open(&path)?, head))
    }

    /// Where the records are, for a caller who may read them, and the chain's end as the engine remembers it.
    async fn store(&self, caller: Caller) -> Result<(PathBuf, Head), Failure> {
        self.engine
            .look(move |inside| {
                let policy = inside.policy.map(AsRef::as_ref);
                let look = Look { ledger: inside.ledger, policy, caller: &caller, now: &inside.now };
                let store = inside.store;
                look.reads_audit().then(|| (store.path().to_owned(), store.head().clone()))
            })
            .await?
            .ok_or_else(|| Failure::NotAuthorized("only root, operators and auditors read the record".into()))
    }
}

#[interface(name = "org.jitd.Jit1.Audit")]
impl Audit {
    #[zbus(out_args("records"))]
    async fn read(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        from_seq: u64,
        limit: u64,
    ) -> Result<Vec<Dict>, Failure> {
        let (reader, head) = self.reader(caller(connection, &header).await?).await?;
        let limit = limit.min(MOST_RECORDS);
        let from = if from_seq == 0 { (head.seq + 1).saturating_sub(limit).max(1) } else { from_seq };
        let read = tokio::task::spawn_blocking(move || reader.records(from, limit));
        let records = read.await.map_err(|error| Failure::Failed(error.to_string()))??;
        Ok(to_dicts(&views(records))?)
    }

    #[zbus(out_args("records"))]
    async fn search(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        filter: Dict,
        from_seq: u64,
        limit: u64,
    ) -> Result<Vec<Dict>, Failure> {
        let (path, _) = self.store(caller(connection, &header).await?).await?;
        let filter: Filter = from_dict(filter)
            .map_err(|error| Failure::InvalidArgument(Escaped(&error.to_string()).to_string()))?;
        if filter.host.as_ref().is_some_and(|host| !is_this_host(host)) {
            return Ok(Vec::new());
        }
        let limit = limit.min(MOST_RECORDS);
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

    #[zbus(signal)]
    async fn records_written(emitter: &SignalEmitter<'_>, head_seq: u64) -> zbus::Result<()>;

    /// The name that this host's records are found under.
    #[zbus(property(emits_changed_signal = "const"))]
    async fn host(&self) -> String {
        host_name()
    }

    #[zbus(out_args("result"))]
    async fn verify(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dict, Failure> {
        let (reader, head) = self.reader(caller(connection, &header).await?).await?;
        let walk = tokio::task::spawn_blocking(move || reader.verify(Some(&head)));
        let (whole_to, result) = walk.await.map_err(|error| Failure::Failed(error.to_string()))??;
        let view = VerifyView {
            whole: result.is_ok(),
            records: whole_to.seq,
            head: whole_to.hash,
            bad_seq: result.as_ref().err().map_or(0, |broken| broken.seq),
            problem: result.err().map_or(String::new(), |broken| broken.problem),
        };
        Ok(to_dict(&view)?)
    }
}

fn views(records: Vec<Sealed>) -> Vec<RecordView> {
    records.into_iter().map(|r| RecordView { seq: r.seq, hash: r.hash, line: r.line }).collect()
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// By its whole name or by the part before the first dot, as people say it.
fn is_this_host(name: &str) -> bool {
    let own = host_name();
    let short = own.split('.').next().unwrap_or_default();
    !name.is_empty() && (name.eq_ignore_ascii_case(&own) || name.eq_ignore_ascii_case(short))
}
