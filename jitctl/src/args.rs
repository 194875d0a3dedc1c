//! The words jitctl understands.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jit_proto::audit::filter::Filter;
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::record::AuditEvent;
use jit_proto::identity::{Reason, RoleName, Ticket};
use jit_proto::time::{WallTime, parse_span};

use crate::clock::moment;

/// Ask for a role on this host for a while, decide on what others ask for, see and check what happened.
#[derive(Debug, Parser)]
#[command(
    name = "jitctl",
    version,
    about = "just-in-time sudo: ask for a role, approve, look after windows, read the record",
    long_about = "Nobody keeps root. A person asks for a role on this host for a while, somebody else approves, sudo \
        works until the window closes, everything started inside the window is gone afterwards, and every step is in \
        an audit record. jitctl is how people and scripts ask, approve, look and check; jitd(8) decides.",
    after_help = "Exit status: 0 done, 1 failure, 2 usage, 3 refused, 4 no such thing, 5 jitd unreachable, 6 pending, \
        7 audit chain broken, 124 timed out waiting, 130 interrupted. See jitctl(1).",
    subcommand_required = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands",
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Print one JSON document (audit show, search and follow: one a line) instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Ask for a role
    Request(RequestArgs),
    /// Take back a request of your own that is still pending
    Cancel {
        /// The request's number
        #[arg(value_parser = number())]
        id: u64,
    },
    /// Hand a grant back before its time; what runs under it ends
    Release {
        /// The grant's number; may be left out when you hold only one
        #[arg(value_parser = number())]
        id: Option<u64>,
    },
    /// Ask for more of a window you hold (operators: give it)
    Extend {
        /// The grant's number
        #[arg(value_parser = number())]
        id: u64,
        /// By how much; the role's default if left out
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
        duration: Option<Duration>,
        /// Why; approvers decide on it
        #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
        reason: Reason,
        /// The ticket it belongs to; the grant's own if left out
        #[arg(long, value_parser = text::<Ticket>)]
        ticket: Option<Ticket>,
    },
    /// List the pending requests you made or may decide on
    Pending,
    /// Show a request and the grant that came of it
    Show {
        /// The request's or the grant's number
        #[arg(value_parser = number())]
        id: u64,
        /// Tell the decision by the exit status: 0 approved, 3 denied, cancelled or expired, 6 still pending
        #[arg(long)]
        exit_code: bool,
    },
    /// Say yes to a request. On a terminal it is shown first, and asked whether it is the one
    Approve {
        /// The request's number
        #[arg(value_parser = number())]
        id: u64,
        /// Grant it for less time than was asked for
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
        duration: Option<Duration>,
        /// Something to keep with the approval
        #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
        comment: Option<Reason>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Say no to a request
    Deny {
        /// The request's number
        #[arg(value_parser = number())]
        id: u64,
        /// Why; the requester reads it
        #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
        reason: Reason,
    },
    /// Give somebody a role without a request (operators and root)
    Grant {
        /// Login name of the person
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        user: String,
        /// The role
        #[arg(value_parser = text::<RoleName>)]
        role: RoleName,
        /// For how long; the role's default if left out
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
        duration: Option<Duration>,
        /// Why
        #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
        reason: Reason,
        /// The ticket it belongs to
        #[arg(long, value_parser = text::<Ticket>)]
        ticket: Option<Ticket>,
    },
    /// Take a grant away; what runs under it ends
    Revoke(RevokeArgs),
    /// List live grants: your own, or all that you look after
    Grants(Table),
    /// List elevated sessions: your own, or all that you look after
    Sessions(Table),
    /// List what there is: pending requests, live grants, elevated sessions
    List(Table),
    /// Show the daemon's state, what you hold, and the PAM stacks that do not ask
    Status {
        /// End with status 1 where no policy is in force or a PAM stack does not ask
        #[arg(long)]
        exit_code: bool,
    },
    /// List the roles you may ask for or approve
    Roles(Table),
    /// Read or verify the audit record (root, operators and auditors)
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Audit {
        /// What to do with it.
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// Report for auditors on a period: who had what, when, why, approved by whom, what ran, how it ended
    Report(ReportArgs),
    /// Check or show the policy (root, operators and auditors)
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Policy {
        /// What to do with it.
        #[command(subcommand)]
        verb: PolicyVerb,
    },
    /// Print the manual page as roff
    #[command(hide = true)]
    Man,
    /// Print the completions of a shell
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Words of what prints a table.
#[derive(Debug, Args)]
pub(crate) struct Table {
    /// Show every column, and times with their day, however wide that is
    #[arg(long)]
    pub(crate) full: bool,
}

/// Words of `request`.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// The role
    #[arg(value_parser = text::<RoleName>)]
    pub(crate) role: RoleName,
    /// For how long, from the approval on; the role's default if left out
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
    pub(crate) duration: Option<Duration>,
    /// Why; approvers decide on it. Asked for on a terminal if left out
    #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
    pub(crate) reason: Option<Reason>,
    /// The ticket it belongs to. Asked for on a terminal if left out and the role wants one
    #[arg(long, value_parser = text::<Ticket>)]
    pub(crate) ticket: Option<Ticket>,
    /// Wait until it is decided
    #[arg(long)]
    pub(crate) wait: bool,
    /// Stop waiting after this time, with exit status 124; the request stays
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = parse_span)]
    pub(crate) timeout: Option<Duration>,
}

/// Words of `revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
    pub(crate) reason: Reason,
}

/// Which grants to revoke: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whose {
    /// The grant's number
    #[arg(value_parser = number())]
    pub(crate) id: Option<u64>,
    /// Every live grant of this person
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) user: Option<String>,
    /// Every live grant on this host
    #[arg(long)]
    pub(crate) all: bool,
}

/// What to do with the audit record.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Show records, the last 20 if nothing else is said
    Show {
        /// At most this many: the last ones, or the first ones from --from on
        #[arg(long, value_name = "N", value_parser = number())]
        last: Option<u64>,
        /// From this record on
        #[arg(long, value_name = "SEQ", value_parser = number())]
        from: Option<u64>,
    },
    /// Check that every record is whole and in its place: in the store, in an export, in what syslog has kept
    Verify(VerifyArgs),
    /// Begin a seal over the record, and print its first key, once
    Seal(SealArgs),
    /// Find records: all that match everything that is said, the newest last
    Search(Box<SearchArgs>),
    /// Print records as they are written, over restarts of the daemon
    Follow(Box<FollowArgs>),
    /// Write the record in a format of others
    Export(ExportArgs),
}

/// Words of `audit verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Check the seals as well, with the first key as audit seal printed it; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Vec<PathBuf>,
    /// Read these instead of the store, oldest first: files of the archive, what audit show --json printed, or a collector's lines (syslog or JSON); - is stdin
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) input: Vec<PathBuf>,
    /// Read the store as well, and compare it with the input; with PATH, that store's file, without the daemon, also if it is damaged
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "", requires_if("", "input"))]
    pub(crate) store: Option<OsString>,
    /// This host's messages, where the input has those of several
    #[arg(long, value_name = "NAME", requires = "input")]
    pub(crate) host: Vec<String>,
    /// The copy is to reach this moment: its last sign of life is older, and verification fails; RFC 3339, 2026-11-25, "2026-11-25 14:30", today, yesterday, "2h ago"
    #[arg(long, value_name = "WHEN", value_parser = moment, requires = "input")]
    pub(crate) until: Option<WallTime>,
    /// A record that was seen elsewhere, by number and hash
    #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
    pub(crate) head: Vec<(u64, RecordHash)>,
}

/// Words of `audit seal`: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SealArgs {
    /// Begin the first seal
    #[arg(long)]
    pub(crate) init: bool,
    /// Begin another one in place of the one there is; that is recorded
    #[arg(long)]
    pub(crate) rotate: bool,
}

/// Words of `audit search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Records of this host; a host has its own only
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// From this moment on: RFC 3339, 2026-11-25, "2026-11-25 14:30", today, yesterday, "2h ago"
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) since: Option<WallTime>,
    /// Before this moment; a day stands for its beginning
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) until: Option<WallTime>,
    /// Only the last ones, at most this many
    #[arg(long, value_name = "N", value_parser = number())]
    pub(crate) limit: Option<u64>,
    /// Print how many there are instead of them
    #[arg(long)]
    pub(crate) count: bool,
}

impl SearchArgs {
    /// What is looked for.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            host: self.host.clone(),
            since: self.since.map(|at| at.0),
            until: self.until.map(|at| at.0),
            ..self.which.filter()
        }
    }
}

/// What a record has to be.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Records about this person, or of what they did to others
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) user: Option<String>,
    /// Records of this role
    #[arg(long, value_parser = text::<RoleName>)]
    pub(crate) role: Option<RoleName>,
    /// Records of this grant
    #[arg(long, value_name = "ID", value_parser = number())]
    pub(crate) grant: Option<u64>,
    /// Records of this request
    #[arg(long, value_name = "ID", value_parser = number())]
    pub(crate) request: Option<u64>,
    /// Records of this session
    #[arg(long, value_name = "ID", value_parser = number())]
    pub(crate) session: Option<u64>,
    /// Records of this event, by its name in jit-audit(5)
    #[arg(long, hide_possible_values = true, value_parser = event_names())]
    pub(crate) event: Option<String>,
    /// Records that went this way: allowed or denied
    #[arg(long, hide_possible_values = true, value_parser = OUTCOMES)]
    pub(crate) outcome: Option<String>,
    /// Records with this in one of their texts, whatever the case
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) text: Option<String>,
}

impl Which {
    /// What is looked for.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            user: self.user.clone(),
            role: self.role.as_ref().map(ToString::to_string),
            grant: self.grant,
            request: self.request,
            session: self.session,
            event: self.event.clone(),
            outcome: self.outcome.clone(),
            text: self.text.clone(),
            ..Filter::default()
        }
    }
}

/// Words of `audit follow`.
#[derive(Debug, Args)]
pub(crate) struct FollowArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Begin with this record instead of the next one
    #[arg(long, value_name = "SEQ", value_parser = number())]
    pub(crate) from: Option<u64>,
}

/// Words of `audit export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// What to write it as
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub(crate) format: ExportFormat,
    /// From this record on
    #[arg(long, value_name = "SEQ", value_parser = number())]
    pub(crate) from: Option<u64>,
    /// From this moment on, as for audit search
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) since: Option<WallTime>,
    /// Before this moment
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) until: Option<WallTime>,
    /// Into this file, which only its owner may read, instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Words of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Begin of the period, as for audit search
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) since: WallTime,
    /// End of the period; now if left out
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) until: Option<WallTime>,
    /// What to write it as
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub(crate) format: ReportFormat,
    /// Into this file, which only its owner may read, instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// One file for a browser or a printer, with charts
    Html,
    /// Comma-separated values for a spreadsheet
    Csv,
    /// One JSON document
    Json,
    /// Markdown for a wiki or a ticket
    Md,
}

/// What the record is exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A line of JSON a record, with its number and its hash; what audit verify reads
    Jsonl,
    /// Comma-separated values for a spreadsheet
    Csv,
    /// Common Event Format
    Cef,
    /// Elastic Common Schema
    Ecs,
    /// Open Cybersecurity Schema Framework
    Ocsf,
}

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Read the policy files afresh and name every problem; changes nothing
    Check {
        /// End with status 1 for warnings as well
        #[arg(long)]
        exit_code: bool,
    },
    /// Show the policy in force
    Show(Table),
}

/// What an outcome can be (jit-audit(5)).
const OUTCOMES: [&str; 2] = ["allowed", "denied"];

/// Requests, grants and records are counted from 1; on the bus 0 has meanings of its own.
fn number() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

/// A number and a hash, as messages and `audit verify` tell them.
fn head(text: &str) -> Result<(u64, RecordHash), String> {
    let (seq, hash) = text.split_once(':').ok_or("it is not SEQ:HASH")?;
    let seq = seq.parse().map_err(|_| "SEQ is no number")?;
    Ok((seq, RecordHash::parse(hash).ok_or("HASH is not 64 hexadecimal digits in lower case")?))
}

fn event_names() -> clap::builder::PossibleValuesParser {
    AuditEvent::ALL.iter().map(|event| event.name()).collect::<Vec<_>>().into()
}

fn text<T: TryFrom<String>>(text: &str) -> Result<T, T::Error> {
    T::try_from(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split('|').map(str::trim))
    }

    fn refused(line: &str, saying: &str) {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(saying), "{line}: {error}");
    }

    #[test]
    fn the_definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_request_is_read_as_people_write_it() {
        let cli = parse(
            "jitctl|request|web-admin|--for|1h 30m|--reason| INC-42 nginx down |--ticket|INC-42|--json",
        )
        .unwrap();
        assert!(cli.json);
        let Verb::Request(request) = cli.verb else { panic!("not a request") };
        assert_eq!(request.role.as_str(), "web-admin");
        assert_eq!(request.duration, Some(Duration::from_secs(5400)));
        assert_eq!(request.reason.unwrap().as_str(), "INC-42 nginx down");
        assert_eq!(request.ticket.unwrap().as_str(), "INC-42");
        assert!(!request.wait);
    }

    #[test]
    fn a_reason_may_begin_with_a_dash_when_it_is_joined() {
        assert!(parse("jitctl|deny|7|--reason=- not today").is_ok());
    }

    #[test]
    fn malformed_words_are_usage_errors_that_name_the_word() {
        refused("jitctl|request|Web Admin|--reason|x", "no role name");
        refused("jitctl|request|web|--for|soon|--reason|x", "no duration");
        refused("jitctl|request|web|--timeout|5m|--reason|x", "--wait");
        refused("jitctl|request|web|--reason|  ", "empty");
        refused("jitctl|deny|7", "--reason");
        refused("jitctl|show|0", "0 is not in 1..");
        refused("jitctl|approve|seven", "seven");
        refused("jitctl|frobnicate", "frobnicate");
    }

    #[test]
    fn an_extension_names_its_grant_and_its_reason() {
        assert!(parse("jitctl|extend|7|--for|30m|--reason|not done yet").is_ok());
        refused("jitctl|extend|7|--for|30m", "--reason");
        refused("jitctl|extend|--reason|x", "ID");
    }

    #[test]
    fn verify_takes_files_keys_and_heads() {
        let hash = "5".repeat(64);
        let line = format!("jitctl|audit|verify|--input|a|b|--key|-|--head|7:{hash}|--store|--host|web1");
        let Verb::Audit { verb: AuditVerb::Verify(args) } = parse(&line).unwrap().verb else {
            panic!("not verify")
        };
        assert_eq!(
            (args.input.len(), args.key.len(), args.head.len(), args.store.is_some()),
            (2, 1, 1, true)
        );
        refused("jitctl|audit|verify|--head|7", "SEQ:HASH");
        refused("jitctl|audit|verify|--head|7:ab", "64 hexadecimal digits");
        refused("jitctl|audit|verify|--store", "--input");
        let line = "jitctl|audit|verify|--store|/mnt/var/lib/jitd/jit.db";
        let Verb::Audit { verb: AuditVerb::Verify(args) } = parse(line).unwrap().verb else {
            panic!("not verify")
        };
        assert_eq!(args.store.unwrap(), "/mnt/var/lib/jitd/jit.db");
        refused("jitctl|audit|seal", "required");
        refused("jitctl|audit|seal|--init|--rotate", "cannot be used with");
    }

    #[test]
    fn what_is_one_of_a_few_is_refused_with_them_and_the_nearest() {
        refused("jitctl|audit|search|--outcome|deny", "[possible values: allowed, denied]");
        refused("jitctl|audit|search|--outcome|deny", "'denied'");
        refused("jitctl|audit|search|--event|acess.denied", "'access.denied'");
        refused("jitctl|audit|follow|--outcome|no", "allowed, denied");
        refused("jitctl|audit|export|--format|json", "jsonl");
        refused("jitctl|aprove|7", "'approve'");
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_what_to_write() {
        refused("jitctl|request|web|--for|30|--reason|x", "\"30m\"");
        let Verb::Request(request) = parse("jitctl|request|web|--for|1d|--reason|x").unwrap().verb else {
            panic!("not a request")
        };
        assert_eq!(request.duration, Some(Duration::from_secs(24 * 3600)));
    }

    #[test]
    fn revoke_wants_exactly_one_target() {
        assert!(parse("jitctl|revoke|7|--reason|x").is_ok());
        assert!(parse("jitctl|revoke|--user|alice|--reason|x").is_ok());
        assert!(parse("jitctl|revoke|--all|--reason|x").is_ok());
        refused("jitctl|revoke|--reason|x", "required");
        refused("jitctl|revoke|7|--all|--reason|x", "cannot be used with");
        refused("jitctl|revoke|--user|alice|--all|--reason|x", "cannot be used with");
    }
}
