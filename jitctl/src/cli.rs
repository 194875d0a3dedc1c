//! The definition of the command line: the verbs of every noun.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::values::TableArgs;
use crate::{audit, doctor, grant, pam, policy, polkit, report, request, setup, status};

/// Requests a role for a limited time, decides on requests, shows and verifies what happened.
#[derive(Debug, Parser)]
#[command(
    name = "jitctl",
    version,
    about = "just-in-time sudo: request a role, approve requests, manage grants, read the audit log",
    long_about = "Nobody keeps root. A person requests a role on this host for a limited time, and somebody else approves. \
        sudo works while the grant is live (its window); jitd then terminates everything that was started with it. Every step \
        is recorded in the audit log. jitctl is the command line to request, approve, inspect and verify; jitd(8) decides.",
    after_help = "Exit status: 0 done, 1 failure, 2 usage, 3 denied, 4 no such thing, 5 jitd unreachable, 6 pending, \
        7 audit chain broken, 8 not the whole audit log, 124 timed out waiting, 130 interrupted. See jitctl(1).",
    subcommand_required = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands",
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Print one JSON document (audit show, search and follow: one per line) instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[command(flatten)]
    Request(request::Verb),
    #[command(flatten)]
    Grant(grant::Verb),
    /// List elevated sessions: your own, or all that you may see
    Sessions(TableArgs),
    #[command(flatten)]
    Status(status::Verb),
    /// List the roles that you may request or approve
    Roles(TableArgs),
    /// Read, verify, export or seal the audit log (root, operators and auditors)
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Audit(audit::Verb),
    /// Write a report for auditors on a period: who held which role, when, why, approved by whom, what ran, how it ended
    Report(report::ReportArgs),
    /// Check or show the policy (root, operators and auditors)
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Policy(policy::Verb),
    /// Put jitd into PAM stacks so that nobody is locked out, take it out, show which stacks ask
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Pam(pam::Verb),
    /// Set up this host: the first role, the PAM lines, the seal of the audit log (root)
    Setup(setup::SetupArgs),
    /// Try whether every way to root on this host is closed without a window, and find what keeps jitd from its work (root)
    Doctor(doctor::DoctorArgs),
    /// Put pkexec and what systemctl does as root behind jitd, or take them out again (root)
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Polkit(polkit::Verb),
    /// Print the manual page as roff
    #[command(hide = true)]
    Man,
    /// Print a shell's completions
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let Verb::Request(request::Verb::Request(request)) = cli.verb else { panic!("not a request") };
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
        let Verb::Audit(audit::Verb::Verify(args)) = parse(&line).unwrap().verb else { panic!("not verify") };
        assert_eq!(
            (args.input.len(), args.key.len(), args.head.len(), args.store.is_some()),
            (2, 1, 1, true)
        );
        refused("jitctl|audit|verify|--head|7", "SEQ:HASH");
        refused("jitctl|audit|verify|--head|7:ab", "64 hexadecimal digits");
        refused("jitctl|audit|verify|--store", "--input");
        let line = "jitctl|audit|verify|--store|/mnt/var/lib/jitd/jit.db";
        let Verb::Audit(audit::Verb::Verify(args)) = parse(line).unwrap().verb else { panic!("not verify") };
        assert_eq!(args.store.unwrap(), "/mnt/var/lib/jitd/jit.db");
        refused("jitctl|audit|seal", "required");
        refused("jitctl|audit|seal|--init|--rotate", "cannot be used with");
    }

    #[test]
    fn what_is_one_of_a_few_is_refused_with_them_and_the_nearest() {
        refused("jitctl|audit|search|--outcome|deny", "[possible values: allowed, denied, observed]");
        refused("jitctl|audit|search|--outcome|deny", "'denied'");
        refused("jitctl|audit|search|--event|acess.denied", "'access.denied'");
        refused("jitctl|audit|follow|--outcome|no", "allowed, denied");
        refused("jitctl|audit|export|--format|json", "jsonl");
        refused("jitctl|aprove|7", "'approve'");
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_what_to_write() {
        refused("jitctl|request|web|--for|30|--reason|x", "\"30m\"");
        let Verb::Request(request::Verb::Request(request)) =
            parse("jitctl|request|web|--for|1d|--reason|x").unwrap().verb
        else {
            panic!("not a request")
        };
        assert_eq!(request.duration, Some(Duration::from_secs(24 * 3600)));
    }

    #[test]
    fn pam_knows_the_services_whose_stacks_it_edits() {
        assert!(parse("jitctl|pam|enable|sudo|sudo-i|--revert-after|90s|--yes").is_ok());
        assert!(parse("jitctl|pam|disable|--all|--yes").is_ok() && parse("jitctl|pam|status").is_ok());
        refused("jitctl|pam|enable", "SERVICE");
        refused("jitctl|pam|enable|sshd", "possible values: sudo, sudo-i, su, su-l, doas");
        refused("jitctl|pam|enable|sudo|--revert-after|0s", "--revert-after");
        refused("jitctl|pam|disable", "required");
        refused("jitctl|pam|disable|sudo|--all", "cannot be used with");
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
