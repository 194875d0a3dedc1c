//! org.jitd.Jit1.Audit: the record, for those who may read it.

use jit_proto::chain::Head;
use jit_proto::dict::{Dict, to_dict, to_dicts};
use jit_proto::view::{RecordView, VerifyView};
use zbus::message::Header;
use zbus::{Connection, interface};

use super::{Failure, caller};
use crate::core::event::Caller;
use crate::core::show::Look;
use crate::engine::Handle;
use crate::store::Reader;

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
        let (path, head) = self
            .engine
            .look(move |inside| {
                let policy = inside.policy.map(AsRef::as_ref);
                let look = Look { ledger: inside.ledger, policy, caller: &caller, now: &inside.now };
                let store = inside.store;
                look.reads_audit().then(|| (store.path().to_owned(), store.head().clone()))
            })
            .await?
            .ok_or_else(|| {
                Failure::NotAuthorized("only root, operators and auditors read the record".into())
            })?;
        Ok((Reader::open(&path)?, head))
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
        let views: Vec<RecordView> =
            records.into_iter().map(|r| RecordView { seq: r.seq, hash: r.hash, line: r.line }).collect();
        Ok(to_dicts(&views)?)
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
