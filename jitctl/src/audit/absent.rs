//! Finds names that no record has: a typing error in `audit search --user` must not look like "nothing happened".

use std::collections::BTreeSet;

use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::Record;
use jit_proto::bus::names::error;

use crate::client::{Daemon, MAX_RECORDS};
use crate::failure::{Exit, Failure, tame};
use crate::nearest::near;
use crate::output::Output;

/// At most this many similar names are searched for in the audit log.
const MAX_TRIED: usize = 8;

/// One filter of a search by itself.
struct One {
    /// Its text: `user alice`, `grant 7`.
    what: String,
    /// The name, if it is one that can be mistyped.
    name: Option<String>,
    kind: Kind,
    filter: Filter,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Role,
    Number,
}

/// Fails if the filter names another host.
pub(crate) async fn check_host(daemon: &Daemon, filter: &Filter) -> Result<(), Failure> {
    let Some(wanted) = &filter.host else { return Ok(()) };
    let own = daemon.host().await?;
    if own == *wanted {
        return Ok(());
    }
    let message =
        format!("this host keeps the records of {own} only; run jitctl on {wanted} for its records");
    Err(Failure::new(Exit::NoSuch, error::NO_SUCH, &message))
}

/// Fails if one of the names or numbers of a filter is in no record. With `walked` the whole audit log is read first:
/// the search index may be incomplete.
pub(crate) async fn check_names(
    daemon: &Daemon,
    filter: &Filter,
    walked: bool,
    output: &Output,
) -> Result<(), Failure> {
    for one in each(filter) {
        if occurs(daemon, &one.filter, false).await? {
            continue;
        }
        if walked && occurs(daemon, &one.filter, true).await? {
            output.talk(&format!(
                "the audit log names {}, but its search index does not; \
                 jitctl report and jitctl audit export read the audit log itself",
                tame(&one.what)
            ));
            continue;
        }
        let nearest = match &one.name {
            Some(name) => nearest(daemon, one.kind, name).await,
            None => Vec::new(),
        };
        let nearest =
            if nearest.is_empty() { String::new() } else { format!("; nearest: {}", nearest.join(", ")) };
        let message = format!("no record names {}{nearest}", one.what);
        return Err(Failure::new(Exit::NoSuch, error::NO_SUCH, &message));
    }
    Ok(())
}

/// The filters that name something, each by itself.
fn each(filter: &Filter) -> Vec<One> {
    let mut all = Vec::new();
    let names = [
        (&filter.user, "user", Kind::User, Filter { user: filter.user.clone(), ..Filter::default() }),
        (&filter.role, "role", Kind::Role, Filter { role: filter.role.clone(), ..Filter::default() }),
    ];
    for (name, what, kind, only) in names {
        if let Some(name) = name {
            all.push(One { what: format!("a {what} {name}"), name: Some(name.clone()), kind, filter: only });
        }
    }
    let numbers = [
        (filter.grant, "grant", Filter { grant: filter.grant, ..Filter::default() }),
        (filter.request, "request", Filter { request: filter.request, ..Filter::default() }),
        (filter.session, "session", Filter { session: filter.session, ..Filter::default() }),
    ];
    for (number, what, only) in numbers {
        if let Some(number) = number {
            all.push(One { what: format!("{what} {number}"), name: None, kind: Kind::Number, filter: only });
        }
    }
    all
}

async fn occurs(daemon: &Daemon, filter: &Filter, walked: bool) -> Result<bool, Failure> {
    let filter = Filter { walk: walked.then_some(true), ..filter.clone() };
    Ok(!daemon.search(&filter, 1, 1).await?.is_empty())
}

/// Similar names that records have. Sources that cannot be read suggest nothing.
async fn nearest(daemon: &Daemon, kind: Kind, name: &str) -> Vec<String> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for stored in daemon.read(0, MAX_RECORDS).await.unwrap_or_default() {
        let Ok(record) = serde_json::from_str::<Record>(&stored.line) else { continue };
        match kind {
            Kind::User => known.extend(record.facts.user.into_iter().chain(record.facts.actor)),
            Kind::Role => known.extend(record.facts.role),
            Kind::Number => {}
        }
    }
    match kind {
        Kind::User => known.extend(jit_host::accounts::all_names()),
        Kind::Role => {
            known.extend(daemon.roles().await.unwrap_or_default().into_iter().map(|role| role.name))
        }
        Kind::Number => {}
    }
    let mut found = Vec::new();
    for like in near(name, known.iter().map(String::as_str)).into_iter().take(MAX_TRIED) {
        let only = match kind {
            Kind::User => Filter { user: Some(like.to_owned()), ..Filter::default() },
            _ => Filter { role: Some(like.to_owned()), ..Filter::default() },
        };
        if occurs(daemon, &only, false).await.unwrap_or(false) {
            found.push(like.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_and_number_is_asked_for_by_itself() {
        let filter = Filter {
            user: Some("alice".into()),
            role: Some("ops".into()),
            session: Some(4),
            since: Some(1),
            text: Some("x".into()),
            outcome: Some("denied".into()),
            ..Filter::default()
        };
        let said: Vec<String> = each(&filter).into_iter().map(|one| one.what).collect();
        assert_eq!(said, ["a user alice", "a role ops", "session 4"]);
        assert!(each(&Filter { text: Some("x".into()), ..Filter::default() }).is_empty());
    }
}
