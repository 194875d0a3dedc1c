//! What has been let in and is not on the disk yet: a session opens only when the record of it is there.

use jit_proto::identity::SessionId;
use tokio::sync::oneshot;

use crate::core::event::{Reply, Verdict};

/// Answers that wait for the disk, and sessions that would have to end if it failed.
#[derive(Debug, Default)]
pub struct Unsynced {
    /// The last record that a session waits for.
    awaited: u64,
    /// The last record that is on the disk.
    on_disk: u64,
    /// Answers that wait for a record.
    waiting: Vec<(u64, oneshot::Sender<Reply>)>,
    /// Sessions let in with a record.
    sessions: Vec<(u64, SessionId)>,
    /// The disk has failed: until it takes something again, nobody is let in before it is on it.
    failed: bool,
}

impl Unsynced {
    /// Somebody was let in, or refused, with a record that is on its way to the disk.
    pub(super) fn on_its_way(&mut self, seq: u64, session: Option<SessionId>) {
        self.awaited = self.awaited.max(seq);
        self.sessions.extend(session.map(|session| (seq, session)));
    }

    /// Lets a session open: now if everything is on the disk that let somebody in, else when it is.
    pub(super) fn open(&mut self, answer: oneshot::Sender<Reply>) {
        if self.awaited > self.on_disk {
            self.waiting.push((self.awaited, answer));
        } else {
            send(answer, Verdict::Allowed);
        }
    }

    /// Everything up to this record is on the disk.
    pub(super) fn reached(&mut self, seq: u64) {
        self.failed = false;
        self.on_disk = self.on_disk.max(seq);
        let reached = self.on_disk;
        self.sessions.retain(|(seq, _)| *seq > reached);
        for (_, answer) in self.waiting.extract_if(.., |(seq, _)| *seq <= reached) {
            send(answer, Verdict::Allowed);
        }
    }

    /// The disk does not take it. Whoever waits is refused; returns the sessions that must not go on.
    pub(super) fn fail(&mut self, problem: &str) -> Vec<SessionId> {
        self.failed = true;
        self.awaited = self.on_disk;
        for (_, answer) in self.waiting.drain(..) {
            let line = format!("jit: refused: it could not be recorded ({problem}).");
            send(answer, Verdict::Denied(vec![line]));
        }
        self.sessions.drain(..).map(|(_, session)| session).collect()
    }

    /// Whether the last thing that is known of the disk is that it failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }
}

fn send(answer: oneshot::Sender<Reply>, verdict: Verdict) {
    // A caller that has gone is told nothing; what it asked for is recorded.
    let _ = answer.send(Reply::Gate(verdict));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(unsynced: &mut Unsynced) -> oneshot::Receiver<Reply> {
        let (answer, receiver) = oneshot::channel();
        unsynced.open(answer);
        receiver
    }

    #[test]
    fn a_session_opens_when_its_record_is_on_the_disk() {
        let mut unsynced = Unsynced::default();
        assert_eq!(ask(&mut unsynced).try_recv(), Ok(Reply::Gate(Verdict::Allowed)), "nothing is on its way");
        unsynced.on_its_way(7, Some(SessionId(1)));
        let mut waits = ask(&mut unsynced);
        unsynced.reached(6);
        assert!(waits.try_recv().is_err());
        unsynced.reached(7);
        assert_eq!(waits.try_recv(), Ok(Reply::Gate(Verdict::Allowed)));
        assert!(unsynced.fail("gone").is_empty(), "its session is safe");
    }

    #[test]
    fn a_disk_that_fails_refuses_who_waits_and_names_who_was_let_in() {
        let mut unsynced = Unsynced::default();
        unsynced.on_its_way(7, Some(SessionId(1)));
        unsynced.reached(7);
        unsynced.on_its_way(8, Some(SessionId(2)));
        let mut waits = ask(&mut unsynced);
        assert_eq!(unsynced.fail("I/O error"), [SessionId(2)]);
        assert!(matches!(waits.try_recv(), Ok(Reply::Gate(Verdict::Denied(_)))));
        assert!(unsynced.has_failed());
        unsynced.reached(9);
        assert!(!unsynced.has_failed());
    }
}
