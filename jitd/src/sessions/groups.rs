//! Checks whether processes of a session have groups that neither the role nor the target user gives.
//!
//! The requested group is read from sudo's command line before the session opens; this check proves that nothing was
//! missed there. Groups are inherited, and cannot be gained without privilege, so the first checks decide.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use jit_proto::identity::{GroupId, SessionId, UserId};
use jit_proto::time::{BootTime, format_duration};
use tracing::error;

use crate::host::accounts::{IdentityError, Nss};
use crate::host::clock::boot_now;
use crate::host::process::{self, Ids};

/// The delay from the opening of the session to the first check; it doubles each time,
const FIRST: Duration = Duration::from_millis(2);
/// up to this.
const SELDOM: Duration = Duration::from_secs(60);
/// After a failure the delay continues as after this many checks: half a second, one second and so on.
const LOOKS_AFTER_FAILURE: u32 = 8;
/// The session ends when every check has failed for this long.
const MAX_UNKNOWN: Duration = Duration::from_secs(60);

/// The allowed groups, and the schedule of checks.
#[derive(Debug)]
pub(super) struct Groups {
    target: UserId,
    named: BTreeSet<GroupId>,
    /// The target user's own groups, once NSS has answered.
    own: Option<BTreeSet<GroupId>>,
    looks: u32,
    /// The time of the first of the failures in a row.
    failing_since: Option<BootTime>,
}

/// Why the groups of the processes are unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum GroupsError {
    /// The processes of the session cannot be listed.
    #[error("the cgroup of the session cannot be read: {0}")]
    Cgroup(io::Error),
    /// A process cannot be read.
    #[error("process {pid} cannot be read: {error}")]
    Process { pid: u32, error: io::Error },
    /// NSS failed for the target user.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// NSS does not know the target user.
    #[error("uid {0}, which the session runs as, has no account any more")]
    NoAccount(UserId),
}

impl Groups {
    pub(super) fn new(target: UserId, named: BTreeSet<GroupId>) -> Self {
        Self { target, named, own: None, looks: 0, failing_since: None }
    }

    /// The delay until the next check.
    pub(super) fn next(&self) -> Duration {
        FIRST.saturating_mul(1 << self.looks.min(15)).min(SELDOM)
    }

    /// Checks these processes; returns why the session has to end: a process has another group, or the groups stay
    /// unknown.
    pub(super) async fn look(&mut self, pids: io::Result<Vec<u32>>, session: SessionId) -> Option<String> {
        self.looks = self.looks.saturating_add(1);
        let found = match pids {
            Ok(pids) => self.foreign_group(pids).await,
            Err(error) => Err(GroupsError::Cgroup(error)),
        };
        if let Err(problem) = &found {
            error!("the groups of session {session} cannot be checked: {problem}");
        }
        self.judge(found, boot_now())
    }

    /// The result of a check at this moment.
    fn judge(&mut self, found: Result<Option<String>, GroupsError>, now: BootTime) -> Option<String> {
        let problem = match found {
            Ok(found) => {
                self.failing_since = None;
                return found;
            }
            Err(problem) => problem,
        };
        let since = *self.failing_since.get_or_insert_with(|| {
            self.looks = self.looks.min(LOOKS_AFTER_FAILURE);
            now
        });
        let failing = now.since(since);
        (failing >= MAX_UNKNOWN).then(|| {
            let failing = format_duration(Duration::from_secs(failing.as_secs()));
            format!("the groups of its processes could not be checked for {failing}: {problem}")
        })
    }

    /// The problem of the first process with another group.
    async fn foreign_group(&mut self, pids: Vec<u32>) -> Result<Option<String>, GroupsError> {
        if self.own.is_none() {
            let target = self.target;
            let asked = tokio::task::spawn_blocking(move || Nss.person(target)).await;
            let person = asked.map_err(IdentityError::Thread)??;
            self.own = Some(person.ok_or(GroupsError::NoAccount(target))?.groups);
        }
        let allowed: BTreeSet<GroupId> = self.own.iter().flatten().chain(&self.named).copied().collect();
        for pid in pids {
            let ids = process::ids_of(pid).map_err(|error| GroupsError::Process { pid, error })?;
            let Some(ids) = ids.filter(|ids| ids.uid == self.target) else { continue };
            let foreign = foreign(&ids, &allowed, given_by_program(pid));
            if !foreign.is_empty() {
                let gids: Vec<String> = foreign.iter().map(|gid| gid.0.to_string()).collect();
                let program = process::exe_of(pid).unwrap_or_else(|| "?".to_owned());
                return Ok(Some(format!(
                    "process {pid} ({program}) has gid {}, which is neither the target's own nor given by the role",
                    gids.join(", ")
                )));
            }
        }
        Ok(None)
    }
}

/// The groups of a process that it should not have. A set-gid program gives its group to its process as the effective,
/// saved and file system gid (execve(2)).
fn foreign(ids: &Ids, allowed: &BTreeSet<GroupId>, program: Option<GroupId>) -> BTreeSet<GroupId> {
    let is_foreign = |gid: &&GroupId| !allowed.contains(gid);
    let by_program = |gid: &&GroupId| program != Some(**gid);
    let changed = ids.others.iter().filter(is_foreign).filter(by_program);
    let whole = std::iter::once(&ids.gid).chain(&ids.supplementary).filter(is_foreign);
    whole.chain(changed).copied().collect()
}

/// The group of a process's program, if the program is set-gid.
fn given_by_program(pid: u32) -> Option<GroupId> {
    let meta: io::Result<std::fs::Metadata> = std::fs::metadata(format!("/proc/{pid}/exe"));
    let meta = meta.ok()?;
    (meta.mode() & 0o2010 == 0o2010).then(|| GroupId(meta.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(gid: u32, others: [u32; 3], supplementary: &[u32]) -> Ids {
        Ids {
            uid: UserId(7),
            gid: GroupId(gid),
            others: others.map(GroupId),
            supplementary: supplementary.iter().copied().map(GroupId).collect(),
        }
    }

    #[test]
    fn a_session_whose_groups_nobody_can_tell_ends_after_a_minute_and_no_sooner() {
        let mut groups = Groups::new(UserId::ROOT, BTreeSet::new());
        let fails = || Err(GroupsError::Cgroup(io::Error::from_raw_os_error(libc::EIO)));
        let at = |seconds: u64| BootTime(seconds * 1_000_000);
        groups.looks = 40;
        assert_eq!(groups.judge(fails(), at(100)), None);
        assert!(groups.next() < Duration::from_secs(1), "it is looked again soon");
        assert_eq!(groups.judge(fails(), at(159)), None);
        assert_eq!(groups.judge(Ok(None), at(160)), None);
        assert_eq!(groups.judge(fails(), at(200)), None, "what lies before a look that told is past");
        let why = groups.judge(fails(), at(261)).unwrap();
        assert!(why.starts_with("the groups of its processes could not be checked for 1m 1s: "), "{why}");
    }

    #[test]
    fn a_group_too_many_is_found_wherever_it_is() {
        let allowed: BTreeSet<GroupId> = [10, 11].map(GroupId).into();
        let of = |ids: Ids, program| {
            foreign(&ids, &allowed, program).into_iter().map(|gid| gid.0).collect::<Vec<_>>()
        };
        assert!(of(ids(10, [10; 3], &[10, 11]), None).is_empty());
        assert_eq!(of(ids(42, [42; 3], &[10]), None), [42]);
        for at in 0..3 {
            let mut others = [10; 3];
            others[at] = 42;
            assert_eq!(of(ids(10, others, &[10]), None), [42]);
            assert!(of(ids(10, others, &[10]), Some(GroupId(42))).is_empty());
        }
        assert_eq!(of(ids(10, [10; 3], &[10, 42]), None), [42]);
        // A set-gid program gives neither the real nor a supplementary gid.
        assert_eq!(of(ids(42, [42; 3], &[10]), Some(GroupId(42))), [42]);
        assert_eq!(of(ids(10, [42; 3], &[42]), Some(GroupId(42))), [42]);
    }
}
