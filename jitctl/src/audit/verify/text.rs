//! The result of a verification, as text.

use jit_proto::bus::view::{SealsView, VerifyView};
use jit_proto::escape::Escaped;

use super::found::{Source, Verification};
use crate::failure::Exit;
use crate::render::{counted, or_dash};

/// The result of a verification.
pub(crate) fn verified(found: &VerifyView) -> String {
    if !found.whole {
        let (bad, problem) = (found.bad_seq, Escaped(&found.problem));
        let whole = match (found.first, found.records) {
            (_, 0) => "no record before it is intact".to_owned(),
            (first, last) if first == last => format!("record {last} is whole"),
            (first, last) => format!("records {first} to {last} are whole"),
        };
        return format!("record {bad}: {problem}; {whole}\n") + &beside_the_chain(found);
    }
    let head = or_dash(&found.head);
    let mut text = match (found.first, found.records) {
        (0 | 1, 1) => format!("1 record is whole; head {head}\n"),
        (0 | 1, records) => format!("{} are whole; head {head}\n", counted(records, "record", "records")),
        (first, last) => format!("records {first} to {last} are whole; head {last}:{head}\n"),
    };
    if !found.first_time.is_empty() {
        text.push_str(&format!("the first record is of {}\n", Escaped(&found.first_time)));
    }
    text.push_str(&beside_the_chain(found));
    text.push_str(&removed(found));
    found.seals.iter().for_each(|span| text.push_str(&sealed(span, found.seals.last())));
    text
}

/// The exit status for this result. A part of an audit log must not pass for all of it.
pub(crate) fn exit_of(found: &VerifyView) -> Exit {
    match (found.whole, found.problems.is_empty()) {
        (false, _) => Exit::ChainBroken,
        (true, false) => Exit::NotWhole,
        (true, true) => Exit::Done,
    }
}

/// Problems beside an intact chain.
fn beside_the_chain(found: &VerifyView) -> String {
    let line = |problem: &String| format!("NOT THE WHOLE AUDIT LOG: {}\n", Escaped(problem));
    let acknowledged = found.acknowledged.iter().map(|problem| format!("{}\n", Escaped(problem)));
    found.problems.iter().map(line).chain(acknowledged).collect()
}

/// The sentences about removed records, and the doubts about them.
fn removed(found: &VerifyView) -> String {
    let mut text = String::new();
    let (by, before) = (found.pruned_by_record, found.first.saturating_sub(1));
    if by > 0 {
        let (records, were) = match before {
            1 => ("record 1".to_owned(), "was"),
            last => (format!("records 1 to {last}"), "were"),
        };
        text.push_str(&format!("{records} {were} removed by retention, as record {by} says\n"));
        if found.pruned_to > before {
            let (first, last) = (found.first, found.pruned_to);
            text.push_str(&format!("records {first} to {last} are about to be removed as well\n"));
        }
    }
    for doubt in &found.doubts {
        text.push_str(&format!("in doubt: {}\n", Escaped(doubt)));
    }
    text
}

/// The cover of some records. A seal also covers the records before it, since their hashes are in it.
fn sealed(span: &SealsView, last: Option<&SealsView>) -> String {
    let (records, are) = match (span.from, span.to) {
        (from, to) if from == to => (format!("record {from}"), "is"),
        (from, to) => (format!("records {from} to {to}"), "are"),
    };
    let covered = last.is_some_and(|last| last.to > span.to);
    match span.cover.as_str() {
        "fits" => format!("{records} {are} sealed, and the seals fit the key\n"),
        "unchecked" => {
            format!("{records} {are} sealed; the seals were not verified, because no key was given (--key)\n")
        }
        _ if covered => {
            format!("{records} {are} chained but not sealed; the first seal after them covers their hashes\n")
        }
        _ => format!("{records} {are} chained but not sealed\n"),
    }
}

/// The result for one source.
pub(super) fn source_text(source: Source, view: &VerifyView, found: &Verification) -> String {
    match source {
        Source::Store => format!("store: {}", verified(view)),
        Source::Export => format!("export: {}", verified(view)),
        Source::Messages if view.whole => {
            let (first, last) = (view.first, view.records);
            let again = match found.repeated {
                0 => String::new(),
                1 => ", 1 duplicate".to_owned(),
                more => format!(", {more} duplicates"),
            };
            let rest = verified(view);
            let seals: String = rest.lines().skip(1).map(|line| format!("{line}\n")).collect();
            format!(
                "messages: records {first} to {last} are complete and linked{again}; head {last}:{}\n{}{seals}",
                view.head,
                contents(view, found)
            )
        }
        Source::Messages => format!("messages: {}", verified(view)),
    }
}

/// Which records' content was compared with the hash, and which was not.
fn contents(view: &VerifyView, found: &Verification) -> String {
    let (cut, unknown) = &found.unchecked;
    let mut text = String::new();
    if !cut.is_empty() {
        let (are, numbers) = numbers(cut);
        text.push_str(&format!(
            "{are} cut to fit into a message: the facts of {numbers} were not compared with the hash\n"
        ));
    }
    if !unknown.is_empty() {
        let (are, numbers) = numbers(unknown);
        text.push_str(&format!(
            "{are} in a form that cannot be compared with the hash, as jitd 0.1.0 wrote it: the facts of \
             {numbers} were not compared\n"
        ));
    }
    let unchecked = (cut.len() + unknown.len()) as u64;
    if unchecked < view.records.saturating_sub(view.first) + 1 {
        let which = if unchecked == 0 { "every" } else { "every other" };
        text.push_str(&format!("the facts in {which} message match its hash\n"));
    }
    text
}

/// Numbers as ranges, for the beginning and for the middle of a sentence.
pub(super) fn numbers(all: &[u64]) -> (String, String) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_audit_log_does_not_end_as_the_whole_of_it() {
        let whole = VerifyView { whole: true, first: 1, records: 3, ..VerifyView::default() };
        assert_eq!(exit_of(&whole), Exit::Done);
        let cut = VerifyView { problems: vec!["record 4 is gone".into()], ..whole };
        assert_eq!(exit_of(&cut), Exit::NotWhole);
        assert!(
            verified(&cut).contains("\nNOT THE WHOLE AUDIT LOG: record 4 is gone\n"),
            "{}",
            verified(&cut)
        );
        // An operator has acknowledged it: it is printed, and changes no exit status.
        let known = VerifyView { acknowledged: cut.problems.clone(), problems: Vec::new(), ..cut.clone() };
        assert_eq!(exit_of(&known), Exit::Done);
        assert!(verified(&known).contains("\nrecord 4 is gone\n"), "{}", verified(&known));
        assert_eq!(exit_of(&VerifyView { whole: false, ..cut }), Exit::ChainBroken, "the worse of the two");
    }

    #[test]
    fn a_verification_is_told_in_one_sentence() {
        let whole = VerifyView {
            whole: true,
            records: 1234,
            head: "ab12".into(),
            bad_seq: 0,
            problem: String::new(),
            first: 1,
            ..VerifyView::default()
        };
        assert_eq!(verified(&whole), "1234 records are whole; head ab12\n");
        let broken = VerifyView {
            whole: false,
            records: 6,
            bad_seq: 7,
            problem: "its hash does not match".into(),
            ..whole.clone()
        };
        assert_eq!(verified(&broken), "record 7: its hash does not match; records 1 to 6 are whole\n");
        let part = VerifyView { first: 5, records: 6, ..broken.clone() };
        assert_eq!(verified(&part), "record 7: its hash does not match; records 5 to 6 are whole\n");
        let span = |from, to, cover: &str| SealsView { from, to, cover: cover.to_owned() };
        let seals = vec![span(1, 3, "unsealed"), span(4, 9, "fits"), span(10, 10, "unchecked")];
        let sealed = verified(&VerifyView { seals, ..whole.clone() });
        assert!(sealed.contains("\nrecords 1 to 3 are chained but not sealed; "), "{sealed}");
        assert!(sealed.contains("\nrecords 4 to 9 are sealed, and the seals fit the key\n"), "{sealed}");
        assert!(sealed.contains("\nrecord 10 is sealed; the seals were not verified"), "{sealed}");
        let doubts = vec!["record 9 says too much".to_owned()];
        let rest = VerifyView { first: 7, pruned_by_record: 9, pruned_to: 8, doubts, ..whole.clone() };
        assert_eq!(
            verified(&rest),
            "records 7 to 1234 are whole; head 1234:ab12\nrecords 1 to 6 were removed by retention, as record 9 \
             says\nrecords 7 to 8 are about to be removed as well\nin doubt: record 9 says too much\n"
        );
        let first = VerifyView { records: 0, bad_seq: 1, ..broken };
        assert_eq!(verified(&first), "record 1: its hash does not match; no record before it is intact\n");
        let none = VerifyView { whole: true, records: 0, head: String::new(), ..whole };
        assert_eq!(verified(&none), "0 records are whole; head -\n");
    }
}
