//! Checks the record: the store, an export, what syslog has kept, and whether they agree.
//!
//! Without words of its own the daemon walks its store. With a key, files or heads the walk is made here, so that an
//! auditor needs no daemon for it, and no daemon sees the key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use jit_proto::audit::chain::{Broken, Sealed, Stored, Verifier};
use jit_proto::audit::copies::{Followed, ForwardedChain, Line, read};
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::record::Record;
use jit_proto::audit::seal::FirstKey;
use jit_proto::bus::names::error;
use jit_proto::bus::view::{SealsView, VerifyView};
use jit_proto::escape::Escaped;
use jit_proto::time::WallTime;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::VerifyArgs;
use crate::call::{Daemon, MAX_RECORDS};
use crate::clock;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render;
use crate::store_file::{StoreFile, Walked};

/// So much later than it says a sign of life may come, in microseconds.
const LATE: u64 = 30_000_000;

type Heads = BTreeMap<u64, RecordHash>;

/// Carries `audit verify` out.
pub(crate) async fn verify(args: VerifyArgs, output: &Output) -> Result<Exit, Failure> {
    let VerifyArgs { key, input, store, host, head, until } = args;
    let file = store.as_ref().filter(|path| !path.is_empty()).map(StoreFile::at);
    let store = store.is_some();
    if key.is_empty() && input.is_empty() && head.is_empty() && file.is_none() {
        let found = Daemon::reach_for_verification().await?.verify().await?;
        output.view(&found, render::verified)?;
        return Ok(if found.whole { Exit::Done } else { Exit::ChainBroken });
    }
    if key.iter().chain(&input).filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(usage("stdin (-) can be read once"));
    }
    let mut keys = Vec::new();
    for path in &key {
        keys.extend(keys_in(path)?);
    }
    let mut found = Found::default();
    let heads: Vec<u64> = head.iter().map(|(seq, _)| *seq).collect();
    let mut known: Heads = head.into_iter().collect();
    if !input.is_empty() {
        let mut inputs = Inputs::new(&keys, &known, host);
        if store {
            inputs = inputs.going_on();
        }
        for path in &input {
            inputs.take(path)?;
        }
        let silence = inputs.silence(until.unwrap_or_else(clock::now), until.is_some());
        inputs.finish(store, &mut found, &mut known)?;
        found.silence = silence;
    }
    if found.broken.is_none() && (input.is_empty() || store) {
        match &file {
            Some(file) => walk_file(file, &keys, known, &mut found)?,
            None => walk_store(&keys, known, &mut found).await?,
        }
    }
    let mut exit = found.tell(output)?;
    if exit == Exit::Done && found.silence.as_ref().is_some_and(|silence| silence.asked && silence.too_long())
    {
        exit = Exit::ChainBroken;
    }
    match found.not_compared(&heads) {
        Some(seq) if exit == Exit::Done => {
            let message = format!(
                "record {seq} could not be compared: it has left what was read; give the archive's file with --input"
            );
            Err(Failure::new(Exit::Failed, error::FAILED, &message))
        }
        _ => Ok(exit),
    }
}

/// What was found, one after the other; it ends with the first thing that is wrong.
#[derive(Default)]
struct Found {
    parts: Vec<(Source, VerifyView)>,
    repeated: u64,
    /// Records whose messages had been cut, and records whose content could not be compared for another reason.
    unchecked: (Vec<u64>, Vec<u64>),
    silence: Option<Silence>,
    broken: Option<(Source, VerifyView)>,
}

/// How long nothing has come into a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Silence {
    /// When the last message that is there was written.
    #[serde(serialize_with = "as_text")]
    last: WallTime,
    /// When the next sign of life was due; none where there is none in the copy that says so.
    #[serde(serialize_with = "as_text_or_none")]
    due: Option<WallTime>,
    /// What the copy is compared with.
    #[serde(serialize_with = "as_text")]
    until: WallTime,
    /// Whether somebody asked for that moment.
    #[serde(skip)]
    asked: bool,
}

impl Silence {
    /// A sign of life may be late by as long as syslog takes.
    fn too_long(&self) -> bool {
        self.due.is_none_or(|due| self.until.0 > due.0.saturating_add(LATE))
    }

    fn told(&self) -> String {
        let last = self.last.to_rfc3339();
        let Some(due) = self.due else {
            return format!(
                "the last message is of {last}; no sign of life is in the copy that says when the next one was due, so \
                 whether it ends early is not known\n"
            );
        };
        if !self.too_long() {
            return String::new();
        }
        let (due, until) = (due.to_rfc3339(), self.until.to_rfc3339());
        let silent = render::span(self.until.0.saturating_sub(self.last.0) / 1_000_000);
        format!(
            "the copy ends early: its last message is of {last}, a sign of life was due at {due}; silent for {silent} \
             until {until}\n"
        )
    }
}

fn as_text<S: serde::Serializer>(at: &WallTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&at.to_rfc3339())
}

fn as_text_or_none<S: serde::Serializer>(at: &Option<WallTime>, to: S) -> Result<S::Ok, S::Error> {
    at.map(WallTime::to_rfc3339).serialize(to)
}

/// Where records were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Messages,
    Export,
    Store,
}

impl Found {
    fn whole(&mut self, source: Source, view: VerifyView) {
        self.parts.push((source, view));
    }

    fn broken(&mut self, source: Source, first: u64, last: u64, broken: Broken) {
        let Broken { seq: bad_seq, problem } = broken;
        let view = VerifyView { records: last, bad_seq, problem, first, ..VerifyView::default() };
        self.broken.get_or_insert((source, view));
    }

    fn tell(&self, output: &Output) -> Result<Exit, Failure> {
        let exit = if self.broken.is_some() { Exit::ChainBroken } else { Exit::Done };
        if output.is_json() {
            let parts: Vec<Told<'_>> = self
                .parts
                .iter()
                .chain(&self.broken)
                .map(|(source, view)| Told { source: *source, view })
                .collect();
            let (whole, repeated) = (self.broken.is_none(), self.repeated);
            let bad = self.broken.as_ref();
            output.document(&Verdict {
                whole,
                bad_seq: bad.map_or(0, |(_, view)| view.bad_seq),
                problem: bad.map_or("", |(_, view)| &view.problem),
                repeated,
                cut: &self.unchecked.0,
                not_comparable: &self.unchecked.1,
                silence: self.silence.as_ref(),
                parts,
            })?;
            return Ok(exit);
        }
        for (source, view) in self.parts.iter().chain(&self.broken) {
            output.text(&told(*source, view, self))?;
        }
        if let Some(silence) = &self.silence {
            output.text(&silence.told())?;
        }
        output.text(&self.joined())?;
        let sources: BTreeSet<u8> = self.parts.iter().map(|(source, _)| *source as u8).collect();
        if exit == Exit::Done && sources.len() > 1 {
            output.text("where they tell of the same records, they agree\n")?;
        }
        Ok(exit)
    }
}

impl Found {
    /// The first of these records that is in nothing that was read, nor the `prev` of anything.
    fn not_compared(&self, heads: &[u64]) -> Option<u64> {
        let read = |seq: u64| self.parts.iter().any(|(_, part)| part.first <= seq + 1 && seq <= part.records);
        heads.iter().copied().find(|seq| !read(*seq))
    }

    /// How an export goes on in the store, which need not begin with the first record any more.
    fn joined(&self) -> String {
        let of = |wanted| self.parts.iter().find(|(source, _)| *source == wanted).map(|(_, view)| view);
        let (Some(export), Some(store)) = (of(Source::Export), of(Source::Store)) else {
            return String::new();
        };
        let (from, end, next, to) = (export.first, export.records, store.first, store.records);
        match () {
            () if from >= next => String::new(),
            () if end + 1 < next => {
                format!("records {} to {} are neither in the export nor in the store\n", end + 1, next - 1)
            }
            () => format!("the export goes on in the store: records {from} to {to} are whole and linked\n"),
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Verdict<'a> {
    whole: bool,
    bad_seq: u64,
    problem: &'a str,
    /// Messages that came more than once.
    repeated: u64,
    /// Records whose messages had been cut: what their facts say was not checked.
    cut: &'a [u64],
    /// Records whose messages cannot be compared with their hashes for another reason.
    not_comparable: &'a [u64],
    /// How long the copy has been silent; null where no message says when it was written.
    silence: Option<&'a Silence>,
    parts: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    source: Source,
    #[serde(flatten)]
    view: &'a VerifyView,
}

fn told(source: Source, view: &VerifyView, found: &Found) -> String {
    match source {
        Source::Store => format!("store: {}", render::verified(view)),
        Source::Export => format!("export: {}", render::verified(view)),
        Source::Messages if view.whole => {
            let (first, last) = (view.first, view.records);
            let again = match found.repeated {
                0 => String::new(),
                1 => ", 1 of them twice".to_owned(),
                more => format!(", {more} times one again"),
            };
            let rest = render::verified(view);
            let seals: String = rest.lines().skip(1).map(|line| format!("{line}\n")).collect();
            format!(
                "messages: records {first} to {last} are all there and linked{again}; head {last}:{}\n{}{seals}",
                view.head,
                contents(view, found)
            )
        }
        Source::Messages => format!("messages: {}", render::verified(view)),
    }
}

/// Of which records the content was compared with the hash, and of which it was not.
fn contents(view: &VerifyView, found: &Found) -> String {
    let (cut, unknown) = &found.unchecked;
    let mut text = String::new();
    if !cut.is_empty() {
        let (are, numbers) = numbers(cut);
        text.push_str(&format!(
            "{are} cut to fit into a message: what the facts of {numbers} say was not checked\n"
        ));
    }
    if !unknown.is_empty() {
        let (are, numbers) = numbers(unknown);
        text.push_str(&format!(
            "{are} in a form that cannot be compared with the hash, as jitd 0.1.0 wrote it: what the facts of \
             {numbers} say was not checked\n"
        ));
    }
    let unchecked = (cut.len() + unknown.len()) as u64;
    if unchecked < view.records.saturating_sub(view.first) + 1 {
        let which = if unchecked == 0 { "every" } else { "every other" };
        text.push_str(&format!("the facts in {which} message are those that its hash was made of\n"));
    }
    text
}

/// Numbers as ranges.
fn numbers(all: &[u64]) -> (String, String) {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for seq in all {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *seq => *last = *seq,
            _ => ranges.push((*seq, *seq)),
        }
    }
    let range = |(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let list = ranges.iter().map(range).collect::<Vec<_>>().join(", ");
    match all.len() {
        1 => (format!("record {list} was"), "it".to_owned()),
        _ => (format!("records {list} were"), "them".to_owned()),
    }
}

/// Files with exported records, messages, or both.
struct Inputs {
    hosts: BTreeSet<String>,
    asked: Vec<String>,
    trail: ForwardedChain,
    chain: Verifier,
    exported: Heads,
    known: Heads,
    messages: u64,
    /// When the last message was written that says so, and when its next sign of life was due.
    last: Option<WallTime>,
    due: Option<WallTime>,
    broken: Option<(Source, Broken)>,
}

impl Inputs {
    fn new(keys: &[FirstKey], known: &Heads, asked: Vec<String>) -> Self {
        Self {
            hosts: BTreeSet::new(),
            asked,
            trail: ForwardedChain::with_keys(keys.to_vec()),
            chain: Verifier::default().from_anywhere().with_keys(keys.to_vec()).knowing(known.clone()),
            exported: Heads::new(),
            known: known.clone(),
            messages: 0,
            last: None,
            due: None,
            broken: None,
        }
    }

    /// How long before a moment the copy ends; nothing is known of messages that do not say when they were written.
    fn silence(&self, until: WallTime, asked: bool) -> Option<Silence> {
        self.last.map(|last| Silence { last, due: self.due, until, asked })
    }

    /// The store is read behind them: a seal that is to begin may begin there.
    fn going_on(self) -> Self {
        Self { trail: self.trail.going_on(), chain: self.chain.going_on(), ..self }
    }

    fn take(&mut self, path: &Path) -> Result<(), Failure> {
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

    fn line(&mut self, line: &str) -> Result<(), Failure> {
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
                        let problem = "a sign of life names another record under this number".to_owned();
                        self.broken = Some((Source::Messages, Broken { seq, problem }));
                    }
                }
            }
            Line::ForwardedRecord(sighting) => {
                if !self.is_of_the_host(&sighting.host)? {
                    return Ok(());
                }
                self.messages += 1;
                self.last = self.last.max(sighting.time);
                if self.broken.is_none()
                    && let Err(broken) = self.trail.feed(&sighting)
                {
                    self.broken = Some((Source::Messages, broken));
                }
            }
        }
        Ok(())
    }

    /// Whether a message is of the host that was asked for; without one, all that name a host have to name the same one.
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
            return Err(usage(&format!("there are messages of several hosts, {hosts}: say --host")));
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

    /// Says what was found, and leaves in `known` what the store is to be compared with, if it is.
    fn finish(self, store: bool, found: &mut Found, known: &mut Heads) -> Result<(), Failure> {
        let exports = !self.exported.is_empty();
        if !exports && self.messages == 0 && self.broken.is_none() {
            return Err(Failure::new(Exit::Failed, error::FAILED, "there is no record in the input"));
        }
        let (first, last) = (self.chain.first(), self.chain.head().seq);
        let (trail_first, trail_last) = self.trail.reached();
        if let Some((source, broken)) = self.broken {
            let (first, last) =
                if source == Source::Export { (first, last) } else { (trail_first, trail_last) };
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
            // Heads from elsewhere are compared with the most complete copy there is.
            let heads = if exports { Heads::new() } else { self.known };
            match self.trail.finish(&heads) {
                Ok(Followed { first, head, repeated, cut, unknown, seals, seen }) => {
                    found.repeated = repeated;
                    found.unchecked = (cut, unknown);
                    // What goes on in the store is missed there, if it is missing.
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
                    found.broken(Source::Messages, trail_first, trail_last, broken);
                    return Ok(());
                }
            }
        }
        known.extend(self.exported);
        Ok(())
    }
}

/// The first record of an export that is not the one of which there was a message, or is missing behind its end.
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

/// Reads the store through the daemon, a page at a time.
async fn walk_store(keys: &[FirstKey], known: Heads, found: &mut Found) -> Result<(), Failure> {
    let daemon = Daemon::reach_for_verification().await?;
    let head = daemon.head().await?;
    let problems = daemon.status().await?.problems;
    let mut known = known;
    // Read before the first page: what is written meanwhile comes behind it.
    if head.seq > 0 {
        known.entry(head.seq).or_insert(head.hash);
    }
    let mut verifier = Verifier::default().with_keys(keys.to_vec()).knowing(known);
    let mut next = 1;
    loop {
        let page = daemon.read(next, MAX_RECORDS).await?;
        for record in &page {
            let seal = (!record.seal.is_empty()).then_some(record.seal.as_str());
            let stored = Stored { seq: record.seq, hash: &record.hash, seal, line: &record.line };
            if let Err(broken) = verifier.feed(stored) {
                found.broken(Source::Store, verifier.first(), verifier.head().seq, broken);
                return Ok(());
            }
        }
        if page.is_empty() {
            break;
        }
        next = verifier.head().seq + 1;
    }
    let (first, last) = (verifier.first(), verifier.head().seq);
    match verifier.finish(Some(&head)) {
        Ok(whole) => found.whole(Source::Store, VerifyView { problems, ..whole.into() }),
        Err(broken) => found.broken(Source::Store, first, last, broken),
    }
    Ok(())
}

/// Reads the store's file, without the daemon, as far as it can be read.
fn walk_file(
    file: &StoreFile,
    keys: &[FirstKey],
    mut known: Heads,
    found: &mut Found,
) -> Result<(), Failure> {
    let opened = file.open().map_err(|why| unreadable(file.path(), &why))?;
    let mut problems = opened.problems();
    let head = opened.head();
    if let Some(head) = head.as_ref().filter(|head| head.seq > 0) {
        known.entry(head.seq).or_insert(head.hash);
    }
    let mut verifier = Verifier::default().with_keys(keys.to_vec()).knowing(known);
    let mut first_time = String::new();
    let walked = opened.walk(|record| {
        if first_time.is_empty() {
            first_time =
                serde_json::from_str::<Record>(record.line).map_or(String::new(), |first| first.time);
        }
        verifier.feed(record)
    });
    let (first, last) = (verifier.first(), verifier.head().seq);
    let broken = match walked {
        Walked::ToTheEnd => match verifier.finish(head.as_ref()) {
            Ok(whole) => {
                found.whole(Source::Store, VerifyView { first_time, problems, ..whole.into() });
                return Ok(());
            }
            Err(broken) => broken,
        },
        Walked::Broken(broken) => broken,
        Walked::Unreadable { why, behind } => {
            problems.extend(behind.map(|(from, to)| format!("behind it records {from} to {to} can be read")));
            Broken {
                seq: last + 1,
                problem: format!("it cannot be read from {}: {why}", file.path().display()),
            }
        }
    };
    found.broken(Source::Store, first, last, broken);
    if let Some((_, view)) = &mut found.broken {
        (view.first_time, view.problems) = (first_time, problems);
    }
    Ok(())
}

fn keys_in(path: &Path) -> Result<Vec<FirstKey>, Failure> {
    let mut text = Zeroizing::new(String::new());
    opened(path)?.read_to_string(&mut text).map_err(|why| unreadable(path, &why))?;
    FirstKey::read_all(&text).map_err(|why| usage(&format!("{}: {why}", Escaped(&path.to_string_lossy()))))
}

fn opened(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|why| unreadable(path, &why))?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    let path = path.to_string_lossy();
    Failure::new(Exit::Failed, error::FAILED, &format!("{} cannot be read: {why}", Escaped(&path)))
}

fn usage(why: &str) -> Failure {
    Failure::new(Exit::Usage, error::INVALID_ARGUMENT, why)
}

#[cfg(test)]
mod tests {
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

    fn look_at(lines: &[String], hosts: &[&str]) -> Result<Found, Failure> {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut inputs = Inputs::new(&[], &Heads::new(), hosts);
        lines.iter().try_for_each(|line| inputs.line(line))?;
        let mut found = Found::default();
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
        let text = told(*source, view, &found);
        assert!(text.contains("records 1-4 were in a form that cannot be compared"), "{text}");
        assert!(!text.contains("those that its hash was made of"), "{text}");
        assert_eq!(numbers(&[17, 40, 41, 42]).0, "records 17, 40-42 were");
    }

    /// Records as journald hands them on.
    fn handed_on(count: u64) -> Vec<String> {
        let mut head = Head::default();
        let line = |n: u64| {
            let facts = Facts {
                user: Some("CORP\\bob".into()),
                reason: Some("nginx down".into()),
                ..Facts::default()
            };
            let (wall, boot, boot_id) = (WallTime(n * 1_000_000), BootTime(n), BootId("b".into()));
            let draft = Draft { event: AuditEvent::AccessDenied, wall, boot, boot_id, facts };
            let sealed = append(&mut head, draft).unwrap();
            let record = serde_json::from_str(&sealed.line).unwrap();
            let mut params =
                vec![("seq".to_owned(), sealed.seq.to_string()), ("hash".to_owned(), sealed.hash)];
            params.extend(message::params(&record, usize::MAX));
            let (lead, element) = (message::lead(&record, 256), message::element("jit@32473", &params));
            format!("2026-11-25T10:00:00.000000+00:00 web1 jitd[3]: {lead} {element}")
        };
        (0..count).map(line).collect()
    }

    #[test]
    fn an_edited_reason_in_a_copy_is_named_by_number() {
        let lines = handed_on(5);
        let found = look_at(&lines, &[]).unwrap();
        let (source, view) = &found.parts[0];
        assert!(told(*source, view, &found).contains("the facts in every message are those"));
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
            Found { parts, ..Found::default() }
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
        let (mut found, mut known) = (Found::default(), Heads::new());
        inputs.finish(true, &mut found, &mut known).unwrap();
        assert!(found.broken.is_none() && known.len() == 9, "the store is compared with all nine");
    }

    #[test]
    fn no_record_at_all_is_not_whole() {
        assert_eq!(look_at(&["hello".to_owned()], &[]).err().unwrap().exit, Exit::Failed);
    }
}
