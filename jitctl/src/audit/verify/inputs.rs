//! Reads files with exported records, a collector's messages, or both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use jit_proto::audit::chain::{Broken, Sealed, Verifier};
use jit_proto::audit::copies::{Followed, ForwardedChain, Line, read};
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::seal::FirstKey;
use jit_proto::bus::names::error;
use jit_proto::bus::view::{SealsView, VerifyView};
use jit_proto::escape::Escaped;
use jit_proto::time::WallTime;

use super::found::{Silence, Source, Verification};
use crate::failure::{Exit, Failure};

/// Hashes by record number.
pub(super) type Heads = BTreeMap<u64, RecordHash>;

/// Files with exported records, messages, or both.
pub(super) struct Inputs {
    hosts: BTreeSet<String>,
    asked: Vec<String>,
    links: ForwardedChain,
    chain: Verifier,
    exported: Heads,
    known: Heads,
    messages: u64,
    /// The times of the last message and of the next heartbeat.
    last: Option<WallTime>,
    due: Option<WallTime>,
    broken: Option<(Source, Broken)>,
}

impl Inputs {
    pub(super) fn new(keys: &[FirstKey], known: &Heads, asked: Vec<String>) -> Self {
        Self {
            hosts: BTreeSet::new(),
            asked,
            links: ForwardedChain::with_keys(keys.to_vec()),
            chain: Verifier::default().from_anywhere().with_keys(keys.to_vec()).knowing(known.clone()),
            exported: Heads::new(),
            known: known.clone(),
            messages: 0,
            last: None,
            due: None,
            broken: None,
        }
    }

    /// The end of the copy before a time; unknown where messages have no times.
    pub(super) fn silence(&self, until: WallTime, asked: bool) -> Option<Silence> {
        self.last.map(|last| Silence { last, due: self.due, until, asked })
    }

    /// The store is read after them: a seal may begin there.
    pub(super) fn continued_elsewhere(self) -> Self {
        Self { links: self.links.continued_elsewhere(), chain: self.chain.continued_elsewhere(), ..self }
    }

    pub(super) fn take(&mut self, path: &Path) -> Result<(), Failure> {
        let mut source = opened(path)?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = source.read_until(b'\n', &mut line).map_err(|why| unreadable(path, &why))?;
            if length == 0 {
                return Ok(());
            }
            self.line(&String::from_utf8_lossy(&line))?;
        }
    }

    pub(super) fn line(&mut self, line: &str) -> Result<(), Failure> {
        match read(line) {
            Line::Other => {}
            Line::Record(record) => {
                if let Some(hash) = RecordHash::parse(&record.hash) {
                    self.exported.insert(record.seq, hash);
                }
                self.record(&record);
            }
            Line::Head { host, seq, hash, due } => {
                if self.is_of_the_host(&host)? {
                    if let Some((at, seconds)) = due {
                        let next = WallTime(at.0.saturating_add(seconds.saturating_mul(1_000_000)));
                        self.last = self.last.max(Some(at));
                        self.due = self.due.max(Some(next));
                    }
                    let known = *self.known.entry(seq).or_insert(hash);
                    if known != hash && self.broken.is_none() {
                        let problem = "a heartbeat names another record under this number".to_owned();
                        self.broken = Some((Source::Messages, Broken { seq, problem }));
                    }
                }
            }
            Line::ForwardedRecord(record) => {
                if !self.is_of_the_host(&record.host)? {
                    return Ok(());
                }
                self.messages += 1;
                self.last = self.last.max(record.time);
                if self.broken.is_none()
                    && let Err(broken) = self.links.feed(&record)
                {
                    self.broken = Some((Source::Messages, broken));
                }
            }
        }
        Ok(())
    }

    /// Whether a message is of the requested host; without a request, all messages that name a host have to name the
    /// same one.
    fn is_of_the_host(&mut self, host: &str) -> Result<bool, Failure> {
        if !self.asked.is_empty() && !self.asked.iter().any(|asked| asked == host) {
            return Ok(false);
        }
        if !host.is_empty() {
            self.hosts.insert(host.to_owned());
        }
        if self.asked.is_empty() && self.hosts.len() > 1 {
            let hosts: Vec<String> = self.hosts.iter().map(|host| Escaped(host).to_string()).collect();
            let hosts = hosts.join(", ");
            return Err(Failure::usage(&format!(
                "the input has messages of several hosts, {hosts}: choose with --host"
            )));
        }
        Ok(true)
    }

    fn record(&mut self, record: &Sealed) {
        if self.broken.is_none()
            && let Err(broken) = self.chain.feed(record.as_stored())
        {
            self.broken = Some((Source::Export, broken));
        }
    }

    /// Adds the result, and leaves in `known` the records to compare with the store.
    pub(super) fn finish(
        self,
        store: bool,
        found: &mut Verification,
        known: &mut Heads,
    ) -> Result<(), Failure> {
        let exports = !self.exported.is_empty();
        if !exports && self.messages == 0 && self.broken.is_none() {
            return Err(Failure::new(Exit::Failed, error::FAILED, "the input has no record of jitd"));
        }
        let (first, last) = (self.chain.first(), self.chain.head().seq);
        let (links_first, links_last) = self.links.reached();
        if let Some((source, broken)) = self.broken {
            let (first, last) =
                if source == Source::Export { (first, last) } else { (links_first, links_last) };
            found.broken(source, first, last, broken);
            return Ok(());
        }
        if exports {
            match self.chain.finish(None) {
                Ok(whole) => found.whole(Source::Export, whole.into()),
                Err(broken) => {
                    found.broken(Source::Export, first, last, broken);
                    return Ok(());
                }
            }
        }
        if self.messages > 0 {
            // Heads from elsewhere are compared with the most complete copy.
            let heads = if exports { Heads::new() } else { self.known };
            match self.links.finish(&heads) {
                Ok(Followed { first, head, repeated, cut, unknown, seals, seen }) => {
                    found.repeated = repeated;
                    found.unchecked = (cut, unknown);
                    // Records that continue in the store are found missing there.
                    let reached = if store { 0 } else { head.seq };
                    let (records, head) = (head.seq, head.hash.to_string());
                    let seals = seals.iter().map(SealsView::from).collect();
                    let view =
                        VerifyView { whole: true, records, head, first, seals, ..VerifyView::default() };
                    found.whole(Source::Messages, view);
                    if exports && let Some(broken) = differs(&seen, &self.exported, reached) {
                        found.broken(Source::Export, broken.0, broken.1, broken.2);
                        return Ok(());
                    }
                    known.extend(seen);
                }
                Err(broken) => {
                    found.broken(Source::Messages, links_first, links_last, broken);
                    return Ok(());
                }
            }
        }
        known.extend(self.exported);
        Ok(())
    }
}

/// The first record of an export that differs from its message, or is missing after the export's end.
fn differs(seen: &Heads, exported: &Heads, reached: u64) -> Option<(u64, u64, Broken)> {
    let first = exported.first_key_value().map_or(0, |(seq, _)| *seq);
    let last = exported.last_key_value().map_or(0, |(seq, _)| *seq);
    for (seq, hash) in exported {
        if seen.get(seq).is_some_and(|seen| seen != hash) {
            let problem =
                "its message told of another record: this one was written later in its place".to_owned();
            return Some((first, seq - 1, Broken { seq: *seq, problem }));
        }
    }
    let problem = format!("missing: the export ends at {last}, but there are messages up to {reached}");
    (last < reached).then_some((first, last, Broken { seq: last + 1, problem }))
}

pub(super) fn opened(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|why| unreadable(path, &why))?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

pub(super) fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    let path = path.to_string_lossy();
    Failure::new(Exit::Failed, error::FAILED, &format!("{} cannot be read: {why}", Escaped(&path)))
}

#[cfg(test)]
mod tests {
    use super::super::text::{numbers, source_text};
    use super::*;
    use jit_proto::audit::chain::{Head, append};
    use jit_proto::audit::message;
    use jit_proto::audit::record::{AuditEvent, Draft, Facts};
    use jit_proto::bus::view::RecordView;
    use jit_proto::time::{BootId, BootTime};

    /// Records as an export has them, and their messages as rsyslog writes them.
    fn record_of(user: &str, count: u64) -> (Vec<String>, Vec<String>) {
        let mut head = Head::default();
        let mut lines = (Vec::new(), Vec::new());
        for n in 0..count {
            let facts = Facts { user: Some(user.to_owned()), ..Facts::default() };
            let (wall, boot, boot_id) = (WallTime(n), BootTime(n), BootId("b".into()));
            let prev = head.hash;
            let draft = Draft { event: AuditEvent::AccessDenied, wall, boot, boot_id, facts };
            let Sealed { seq, hash, line, .. } = append(&mut head, draft).unwrap();
            lines.1.push(format!(
                "Nov 25 10:00:00 web1 1 2026-11-25T10:00:00Z web1 jitd 3 access.denied [jit@32473 seq=\"{seq}\" \
                 hash=\"{hash}\" prev=\"{prev}\" user=\"{user}\"] access.denied"
            ));
            lines.0.push(crate::json::record(&RecordView { seq, hash, seal: String::new(), line }, false));
        }
        lines
    }

    fn look_at(lines: &[String], hosts: &[&str]) -> Result<Verification, Failure> {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut inputs = Inputs::new(&[], &Heads::new(), hosts);
        lines.iter().try_for_each(|line| inputs.line(line))?;
        let mut found = Verification::default();
        inputs.finish(false, &mut found, &mut Heads::new())?;
        Ok(found)
    }

    fn broken(lines: &[String]) -> (Source, u64, String) {
        let (source, view) = look_at(lines, &[]).unwrap().broken.expect("nothing is wrong");
        (source, view.bad_seq, view.problem)
    }

    #[test]
    fn an_export_and_the_messages_of_it_agree() {
        let (export, messages) = record_of("alice", 9);
        let found = look_at(&[export[2..].to_vec(), messages].concat(), &[]).unwrap();
        let ends: Vec<_> =
            found.parts.iter().map(|(source, view)| (*source, view.first, view.records)).collect();
        assert_eq!(ends, [(Source::Export, 3, 9), (Source::Messages, 1, 9)]);
        assert!(found.broken.is_none());
    }

    #[test]
    fn what_was_not_checked_is_named_by_number() {
        let (_, old) = record_of("alice", 4);
        let found = look_at(&old, &[]).unwrap();
        let (source, view) = &found.parts[0];
        let text = source_text(*source, view, &found);
        assert!(text.contains("records 1-4 were in a form that cannot be compared"), "{text}");
        assert!(!text.contains("match its hash"), "{text}");
        assert_eq!(numbers(&[17, 40, 41, 42]).0, "records 17, 40-42 were");
    }

    /// Records as journald forwards them.
    fn handed_on(count: u64) -> Vec<String> {
        handed_on_with(count, usize::MAX, |_| "nginx down".to_owned())
    }

    /// The same with values of at most this many bytes, and a reason for each record.
    fn handed_on_with(count: u64, longest: usize, reason: impl Fn(u64) -> String) -> Vec<String> {
        let mut head = Head::default();
        let line = |n: u64| {
            let facts =
                Facts { user: Some("CORP\\bob".into()), reason: Some(reason(n + 1)), ..Facts::default() };
            let (wall, boot, boot_id) = (WallTime(n * 1_000_000), BootTime(n), BootId("b".into()));
            let draft = Draft { event: AuditEvent::AccessDenied, wall, boot, boot_id, facts };
            let sealed = append(&mut head, draft).unwrap();
            let record = serde_json::from_str(&sealed.line).unwrap();
            let mut params =
                vec![("seq".to_owned(), sealed.seq.to_string()), ("hash".to_owned(), sealed.hash)];
            params.extend(message::params(&record, longest));
            let (lead, element) = (message::lead(&record, 256), message::element("jit@32473", &params));
            format!("2026-11-25T10:00:00.000000+00:00 web1 jitd[3]: {lead} {element}")
        };
        (0..count).map(line).collect()
    }

    #[test]
    fn a_record_that_does_not_fit_into_a_message_is_named_by_number() {
        let of_3 = |n: u64| if n == 3 { "a reason at length, ".repeat(200) } else { "nginx down".to_owned() };
        let lines = handed_on_with(5, 256, of_3);
        assert!(lines[2].len() < 2048 && lines[2].contains(" cut=\"reason\""), "{}", lines[2]);
        let found = look_at(&lines, &[]).unwrap();
        assert_eq!((found.broken.is_none(), found.unchecked.clone()), (true, (vec![3], Vec::new())));
        let (source, view) = &found.parts[0];
        let text = source_text(*source, view, &found);
        assert!(text.contains("record 3 was cut to fit into a message"), "{text}");
        assert!(text.contains("every other message"), "{text}");
    }

    #[test]
    fn an_edited_reason_in_a_copy_is_named_by_number() {
        let lines = handed_on(5);
        let found = look_at(&lines, &[]).unwrap();
        let (source, view) = &found.parts[0];
        assert!(source_text(*source, view, &found).contains("the facts in every message match its hash"));
        let mut edited = lines;
        edited[2] = edited[2].replace("nginx down", "all is well");
        let (source, seq, problem) = broken(&edited);
        assert_eq!((source, seq), (Source::Messages, 3));
        assert!(problem.contains("changed in this copy"), "{problem}");
    }

    #[test]
    fn a_copy_that_ends_early_says_for_how_long_it_has_been_silent() {
        let mut lines = handed_on(2);
        let silence = |lines: &[String], until: u64| {
            let mut inputs = Inputs::new(&[], &Heads::new(), Vec::new());
            lines.iter().try_for_each(|line| inputs.line(line)).unwrap();
            inputs.silence(WallTime(until * 1_000_000), true).unwrap()
        };
        assert!(silence(&lines, 5).told().contains("not known") && silence(&lines, 5).too_long());
        let hash = lines[1].split("hash=\"").nth(1).unwrap()[..64].to_owned();
        lines.push(format!(
            "Jan  1 00:00:10 web1 jitd[3]: daemon.heartbeat: alive [jit@32473 seq=\"2\" hash=\"{hash}\" \
             time=\"1970-01-01T00:00:10.000000Z\" every=\"60\"]"
        ));
        assert!(!silence(&lines, 75).too_long() && silence(&lines, 75).told().is_empty());
        let late = silence(&lines, 3610);
        assert!(late.too_long());
        for part in ["last message is of 1970-01-01T00:00:10", "due at 1970-01-01T00:01:10", "silent for 1h"]
        {
            assert!(late.told().contains(part), "{}", late.told());
        }
        assert!(look_at(&lines, &[]).unwrap().broken.is_none());
    }

    #[test]
    fn a_chain_that_was_made_anew_differs_from_its_messages() {
        let (export, _) = record_of("mallory", 9);
        let (_, messages) = record_of("alice", 9);
        assert_eq!(broken(&[export, messages[3..].to_vec()].concat()).1, 4);
    }

    #[test]
    fn an_export_shorter_than_its_messages_is_cut() {
        let (export, messages) = record_of("alice", 9);
        let (source, seq, problem) = broken(&[messages, export[..5].to_vec()].concat());
        assert_eq!((source, seq), (Source::Export, 6));
        assert!(problem.contains("up to 9"), "{problem}");
    }

    #[test]
    fn a_message_that_is_missing_repeated_or_late_is_told() {
        let (_, messages) = record_of("alice", 9);
        let mut hole = messages.clone();
        hole.remove(4);
        assert_eq!(broken(&hole).1, 5);
        let mut late = messages.clone();
        late.swap(4, 5);
        assert_eq!(broken(&late).1, 5);
        let twice = [messages[..6].to_vec(), messages[4..].to_vec()].concat();
        assert_eq!(look_at(&twice, &[]).unwrap().repeated, 2);
    }

    #[test]
    fn messages_of_several_hosts_have_to_be_told_apart() {
        let (_, ours) = record_of("alice", 5);
        let theirs: Vec<String> =
            record_of("bob", 5).1.iter().map(|line| line.replace("web1", "web2")).collect();
        let both = [ours, theirs].concat();
        assert_eq!(look_at(&both, &[]).err().unwrap().exit, Exit::Usage);
        assert!(look_at(&both, &["web2"]).unwrap().broken.is_none());
        assert_eq!(look_at(&both, &["web3"]).err().unwrap().exit, Exit::Failed);
    }

    #[test]
    fn an_archive_and_a_store_are_told_as_one_where_they_meet() {
        let part = |first, records| VerifyView { whole: true, first, records, ..VerifyView::default() };
        let found = |export, store| {
            let parts = vec![(Source::Export, export), (Source::Store, store)];
            Verification { parts, ..Verification::default() }
        };
        assert!(found(part(1, 9), part(10, 20)).joined().contains("records 1 to 20 are whole and linked"));
        assert!(found(part(1, 12), part(10, 20)).joined().contains("records 1 to 20"));
        assert!(found(part(1, 7), part(10, 20)).joined().contains("records 8 to 9 are neither"));
        assert_eq!(found(part(1, 20), part(1, 20)).joined(), "");
        let apart = found(part(3, 5), part(10, 20));
        assert_eq!(apart.not_compared(&[2, 4, 9, 15]), None, "9 is the prev of 10");
        assert_eq!(apart.not_compared(&[15, 7, 1]), Some(7));
    }

    #[test]
    fn what_the_messages_tell_of_may_go_on_in_the_store() {
        let (export, messages) = record_of("alice", 9);
        let mut inputs = Inputs::new(&[], &Heads::new(), Vec::new());
        let lines = [export[..5].to_vec(), messages].concat();
        lines.iter().try_for_each(|line| inputs.line(line)).unwrap();
        let (mut found, mut known) = (Verification::default(), Heads::new());
        inputs.finish(true, &mut found, &mut known).unwrap();
        assert!(found.broken.is_none() && known.len() == 9, "the store is compared with all nine");
    }

    #[test]
    fn no_record_at_all_is_not_whole() {
        assert_eq!(look_at(&["hello".to_owned()], &[]).err().unwrap().exit, Exit::Failed);
    }
}
