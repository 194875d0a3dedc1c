//! The manual page and the shells' completions, made from the definition of the command line.

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use jit_proto::bus::names::error;

use crate::cli::Cli;
use crate::failure::{Exit, Failure};

/// The date of the page's last visible change.
const DATE: &str = "2026-11-28";

/// What somebody would type, and why.
const EXAMPLES: [(&str, &str); 23] = [
    (
        "Request a role and wait for the decision:",
        "jitctl request web-admin --for 30m --reason \"INC-42 nginx down\" --ticket INC-42 --wait",
    ),
    (
        "List the requests that you may decide on, and decide:",
        "jitctl pending\njitctl approve 7\njitctl deny 8 --reason \"use the staging host\"",
    ),
    ("Approve for less time than was requested:", "jitctl approve 7 --for 10m --comment \"restart only\""),
    (
        "List requests, grants and sessions; show the options of a command:",
        "jitctl list\njitctl help request",
    ),
    ("Show what you hold and for how long; hand it back early:", "jitctl status\njitctl release"),
    ("Request an extension before the window closes:", "jitctl extend 7 --for 30m --reason \"not done yet\""),
    (
        "Give a role without a request, as an operator:",
        "jitctl grant alice db-admin --for 1h --reason \"restore drill\"",
    ),
    ("Revoke everything from one person, now:", "jitctl revoke --user alice --reason \"left the team\""),
    (
        "Act on the decision in a script:",
        "id=$(jitctl request web-admin --reason \"nightly deployment\" --json | jq .id)\njitctl show \"$id\" --exit-code >/dev/null; [ $? -eq 6 ] && echo \"not decided yet\"",
    ),
    (
        "Verify the audit log; show one record with all its facts:",
        "jitctl audit verify\njitctl audit show --from 1234 --last 1 --json",
    ),
    (
        "Seal the audit log, as root, on the day the host is set up; keep what is printed in a safe:",
        "jitctl audit seal --init",
    ),
    (
        "Verify the seals, and compare the store with the collector's copy:",
        "jitctl audit verify --key /media/safe/web1.key --input web1.log --store",
    ),
    (
        "Verify everything, where old records were moved to the archive:",
        "jitctl audit verify --input /var/lib/jitd/archive/*.jsonl --store",
    ),
    (
        "Search for what a person did on a day; count how often something happened:",
        "jitctl audit search --user alice --since 2026-11-25 --until 2026-11-26\njitctl audit search --event access.denied --since \"7 days ago\" --count",
    ),
    ("Print records as they are written, as JSON:", "jitctl --json audit follow | jq -c .record"),
    (
        "Export the audit log, whole or in another format:",
        "jitctl audit export --output record.jsonl\njitctl audit export --format ocsf --since yesterday --until today",
    ),
    (
        "Have rsyslog write each record as one line of RFC 5424, send it to a SIEM, and take that back:",
        "jitctl audit forward --dry-run\njitctl audit forward --to siem.example.org:6514\njitctl audit forward --remove",
    ),
    (
        "Write the quarter's report for the auditor, as a page for a browser or a printer:",
        "jitctl report --since 2026-07-01 --until 2026-10-01 --output q3.html",
    ),
    (
        "See what enforcing would have denied while the host observed:",
        "jitctl report --observe --since \"7 days ago\"",
    ),
    (
        "Try whether every way to root on this host is closed, as root; once each hour, with a record of what changed:",
        "jitctl doctor\nsystemctl enable --now jitd-doctor.timer",
    ),
    ("Check role files before they are loaded:", "jitctl policy check && systemctl reload jitd"),
    (
        "Let sudo ask jitd, as root with that shell left open; keep it once somebody without a window was denied:",
        "jitctl pam enable sudo sudo-i\njitctl pam confirm",
    ),
    (
        "Fail in monitoring where the stacks of sudo do not ask; take jitd out of every stack:",
        "jitctl pam status --exit-code sudo sudo-i\njitctl pam disable --all",
    ),
];

/// The meanings of the exit statuses.
const STATUSES: [(Exit, &str); 11] = [
    (Exit::Done, "Done."),
    (
        Exit::Failed,
        "Failure. policy check: the files are not accepted, or with --exit-code there are warnings. status --exit-code: no policy is in force, a PAM stack does not ask jitd, or jitd observes. pam status --exit-code: a stack that is shown does not ask, or a change waits for its confirmation. doctor: something is open.",
    ),
    (
        Exit::Usage,
        "Usage error: the command line or a value in it is not valid. doctor: nothing is open, but not everything could be looked at.",
    ),
    (
        Exit::Refused,
        "Denied: by the policy, by the approver, because nobody decided in time, or because the request was decided already.",
    ),
    (
        Exit::NoSuch,
        "No such request, grant, role or user, or none that the caller may see. audit search: no record names it.",
    ),
    (Exit::Unreachable, "The daemon, or the system bus, cannot be reached."),
    (Exit::Pending, "show --exit-code: the request is not decided yet."),
    (
        Exit::ChainBroken,
        "audit verify, report: the chain is broken, or a copy ends before --until. audit export: a record was left out. audit follow: the audit log was replaced.",
    ),
    (
        Exit::NotWhole,
        "audit verify, report: the chain is whole, but it is not the whole audit log: records that were written are missing, or a \
         part was set aside. The output names each problem.",
    ),
    (Exit::TimedOut, "request --wait --timeout: timed out; the request stays pending."),
    (Exit::Interrupted, "Interrupted with Ctrl-C while waiting; the request stays pending."),
];

const FILES: [(&str, &str); 10] = [
    ("/etc/jitd/jitd.toml", "Settings of the daemon: operators, auditors, ceilings."),
    ("/etc/jitd/roles.d/*.toml", "The roles."),
    (
        "/run/jitd/operator.sock",
        "The daemon's own socket. jitctl tries it first; root and the group jit-operators may open it. It answers even if the bus \
         is flooded or hangs. --wait and audit follow use the bus.",
    ),
    (
        "/run/dbus/system_bus_socket",
        "The system bus, on which the daemon is org.jitd.Jit1. The address is fixed; jitctl does not read DBUS_SYSTEM_BUS_ADDRESS.",
    ),
    (
        "/etc/rsyslog.d/60-jitd-forward.conf, /etc/logrotate.d/jitd-forward",
        "What audit forward writes. A first line with a digest tells whether somebody has edited the file since.",
    ),
    (
        "/var/log/jitd-audit.log",
        "The records that rsyslog has written after audit forward, one RFC 5424 message a line.",
    ),
    (
        "/etc/pam.d/.jitd",
        "The stacks as they were before pam enable or pam disable, and the change that waits for its confirmation. It is beside the \
         stacks so that a change is undone by one rename, also on a full disk. purge of the package removes it.",
    ),
    (
        "/usr/libexec/jitd-pam-trial",
        "Runs the PAM transaction with which pam enable tries a copy of the stacks. jitd-pam-undo.service undoes a change that was not \
         confirmed before the host was started again.",
    ),
    (
        "/etc/polkit-1/rules.d/00-jitd.rules",
        "The rule by which polkit asks jitd about pkexec, systemctl and run0; polkit enable writes it, polkit disable removes it.",
    ),
    ("/usr/libexec/jitd", "The daemon. With --check it checks the policy files without a running daemon."),
];

/// jitctl(1), as roff.
pub(crate) fn page() -> Result<String, Failure> {
    let mut command = Cli::command();
    // The full names of nested verbs are known only after this.
    command.build();
    let man = Man::new(command.clone()).title("JITCTL").date(DATE).manual("Just-in-time sudo");
    let mut page = Vec::new();
    let rendered = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| commands(&command).to_writer(&mut page))
        .and_then(|()| more().to_writer(&mut page));
    rendered.map_err(|why| unwritable(&why))?;
    String::from_utf8(page).map_err(|why| unwritable(&why))
}

/// The completions of one shell.
pub(crate) fn completions(shell: Shell) -> Result<String, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "jitctl", &mut script);
    String::from_utf8(script).map_err(|why| unwritable(&why))
}

fn unwritable(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, error::FAILED, &format!("the page cannot be written: {why}"))
}

/// Every verb with its usage, description and options.
fn commands(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    roff.text([
        roman("DURATION is written as "),
        bold("30m"),
        roman(", "),
        bold("2h"),
        roman(", "),
        bold("\"1h 30m\""),
        roman(" or "),
        bold("1d"),
        roman(", which is 24 hours; WHEN as "),
        bold("2026-11-25"),
        roman(", "),
        bold("\"2026-11-25 14:30\""),
        roman(", "),
        bold("today"),
        roman(", "),
        bold("yesterday"),
        roman(", "),
        bold("\"2h ago\""),
        roman(", "),
        bold("\"7 days ago\""),
        roman(
            " or RFC 3339. A date stands for the beginning of that day in the local time zone. A time of day that occurs twice or never on \
             that day, because the clocks change, is refused with the form to write instead. A request and the grant that it leads to \
             have the same number. A window is the time in which a grant is live.",
        ),
    ]);
    for verb in visible(command) {
        let nested: Vec<&Command> = visible(verb).collect();
        if nested.is_empty() {
            verb_section(&mut roff, verb);
        }
        nested.into_iter().for_each(|verb| verb_section(&mut roff, verb));
    }
    roff
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

fn verb_section(roff: &mut Roff, verb: &Command) {
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim_start_matches("jitctl ").replace(" [OPTIONS]", "");
    roff.control("SS", [usage.as_str()]);
    roff.text([roman(format!("{}.", verb.get_about().map(ToString::to_string).unwrap_or_default()))]);
    for arg in verb
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !arg.is_global_set() && arg.get_id() != "help")
    {
        roff.control("TP", []);
        roff.text(tag(arg));
        roff.text([roman(format!("{}.", arg.get_help().map(ToString::to_string).unwrap_or_default()))]);
    }
}

fn tag(arg: &Arg) -> Vec<Inline> {
    let value =
        arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    match arg.get_long() {
        None => vec![italic(value)],
        Some(long) if arg.get_action().takes_values() => {
            vec![bold(format!("--{long}")), roman(" "), italic(value)]
        }
        Some(long) => vec![bold(format!("--{long}"))],
    }
}

/// The sections that the definition of the command line does not have.
fn more() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["OUTPUT"]);
    roff.text([roman(
        "Data goes to stdout, everything else to stderr. In text from people, control characters, terminal sequences and \
         bidirectional marks are written as \\u{..}. Without a terminal jitctl asks no questions. Times are local and include their \
         offset from UTC. On a terminal, tables omit columns and cut free text to fit the width, and --full shows everything; \
         lists go through a pager.",
    )]);
    roff.control("PP", []);
    roff.text([
        roman("With "),
        bold("--json"),
        roman(
            " each run prints one document: request and approve print the request, grant the grant, cancel, deny, release \
             and revoke the numbers, all others what they show. Keys that end in _at are RFC 3339 with the local offset, keys that \
             end in _seconds are numbers. audit show, search and follow print one line per record, {\"seq\", \"hash\", \"seal\", \
             \"record\"}; if stdout is no terminal, the record is byte for byte as stored. audit export as jsonl does the same. The last \
             line of stderr then reports a failure as {\"error\": {\"name\", \"message\"}}, with the name of the D-Bus error.",
        ),
    ]);
    roff.control("SH", ["FORWARDING"]);
    roff.text([roman(
        "audit forward makes rsyslog listen on /run/jitd-rsyslog/socket, which only root reaches, and sets syslog_socket in jitd.toml \
         to it. rsyslog then writes what jitd sends, byte for byte, to /var/log/jitd-audit.log, and to each --to. The command prints \
         the difference of each file, has rsyslogd -N1 check the configuration before rsyslog is started again, has jitd reload its \
         settings, and waits until the record of that reload has arrived in the file and its hash fits. If one of these fails, each \
         file is put back and the services read the files as they were. The reload also takes in other changes of the policy files. \
         A file that was edited is not replaced without --force; --remove removes it as well. --remove leaves the log and what \
         waits in rsyslog's queue for a collector. A collector that is away is waited for with up to 1 GB on the disk; rsyslog \
         drops what comes after. audit verify --input names what a copy lacks. For TLS, for confirmation by the collector, and for \
         syslog-ng see /usr/share/doc/jitd/siem/README.md.",
    )]);
    roff.control("SH", ["PAM STACKS"]);
    roff.text([
        bold("pam enable"),
        roman(
            " puts up to three lines into the stack of each service, each with a comment that says where it comes from: the gate in \
             account and in session, above every line and include that could decide before it, and track as the last line of session. \
             Nothing else in the file changes; owner, mode, times, SELinux label, access control list and other extended attributes stay. \
             A service whose file includes that of another (su-l on Debian, sudo-i on RHEL) goes by the other one, which is changed. \
             Before that, a copy of all stacks with the change is tried with a PAM transaction of its own: nobody(5) without a window has \
             to be denied by jitd, and root has to get through every stage. Inside a window nothing is tried, because that would use \
             somebody's grant. jitctl refuses where no role opens a service for anybody, and where nobody could become root by another way \
             than this gate; ",
        ),
        bold("--force"),
        roman(" overrides both, and a trial that failed."),
    ]);
    roff.control("PP", []);
    roff.text([
        roman(
            "Then PID 1 is given a timer, and after that each stack is replaced in one step. When the timer ends, the stacks are as they were, \
             unless ",
        ),
        bold("pam confirm"),
        roman(
            " came before; this needs neither jitd nor the login from which the change was made, and it happens too where jitctl was \
             killed in the middle. A start of the host before the confirmation also undoes the change. A stack that somebody else has \
             changed meanwhile keeps what they wrote and loses jitd's lines. ",
        ),
        bold("pam disable"),
        roman(" needs no confirmation afterwards: nobody can be locked out by it. sudo-rs reads the stacks of sudo. pkexec and run0 are closed otherwise (pam_jit(8))."),
    ]);
    roff.control("SH", ["REPORT"]);
    roff.text([roman(
        "The report is computed from the records of the period. It lists windows with their approvers, what ran in them and how \
         they ended; denials; requests without a grant; changes left behind; events of policy, daemon and clock; and the result of \
         verifying the chain. What ran is the command line of sudo, not what was typed into a shell that sudo opened. Each \
         figure is the number that audit search --count prints for the event and the period. The section on controls \
         states in short what each control requires, what in the report relates to it, and what is not shown; it does not state \
         that a control is met. Standing privilege is read from the host when the report is written. The rules of sudoers are \
         read with cvtsudoers(1), and only if root runs jitctl. The HTML is one file that loads nothing and runs no script.",
    )]);
    roff.control("SH", ["DOCTOR"]);
    roff.text([roman(
        "doctor prints a line for each way to become another user that this host has: closed, OPEN or unknown, and how it knows. \
         sudo, sudo -i, sudoedit, sudo-rs, su and doas are run, with their own PAM stacks, as the account jit-doctor, which nobody \
         can log in as. For su the right password is taken for typed; sudoers and doas.conf have one more rule, which lets \
         jit-doctor become itself without a password, so that sudo asks the account stage alone, as it does with NOPASSWD and a \
         warm ticket. These files are seen by that run alone (a mount namespace of its own): on the host there is no such rule at \
         any time. Only a denial in jitd's own words counts as closed, with the number of its record. About pkexec, run0 and \
         systemd-run polkit itself is asked, for processes of jit-doctor, of members of roles and of administrators; a path that \
         takes a password is open. Each finding says what it is, why it matters and what to type. With --json the document has \
         paths, findings, unseen and notes.",
    )]);
    roff.control("SH", ["EXIT STATUS"]);
    for (exit, meaning) in STATUSES {
        roff.control("TP", []);
        roff.text([bold((exit as u8).to_string())]);
        roff.text([roman(meaning)]);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in [
        ("NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM", "Whether headings are bold on a terminal."),
        ("TZ", "The local time zone: a name of the time zone database, or a rule (tzset(3))."),
        (
            "PAGER",
            "The pager for lists on a terminal; cat for none. If it is not set, and always for root, jitctl runs less(1) with \
             LESS=FRSX and LESSSECURE=1. If the pager cannot be run, the output is printed without one.",
        ),
    ] {
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text([roman(meaning)]);
    }
    roff.control("SH", ["FILES"]);
    for (file, meaning) in FILES {
        roff.control("TP", []);
        roff.text([italic(file)]);
        roff.text([roman(meaning)]);
    }
    roff.control("SH", ["EXAMPLES"]);
    for (why, lines) in EXAMPLES {
        roff.control("PP", []);
        roff.text([roman(why)]);
        roff.control("RS", ["4"]);
        roff.control("nf", []);
        for line in lines.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
        roff.control("RE", []);
    }
    roff.control("SH", ["SEE ALSO"]);
    let pages = [
        ("jit", "7"),
        ("jitd", "8"),
        ("pam_jit", "8"),
        ("jitd.toml", "5"),
        ("jit-roles", "5"),
        ("jit-audit", "5"),
        ("sudo", "8"),
        ("busctl", "1"),
        ("ausearch", "8"),
        ("cvtsudoers", "1"),
    ];
    let mut line = Vec::new();
    for (page, section) in pages {
        let before = if line.is_empty() { "" } else { ", " };
        line.extend([roman(before), bold(page), roman(format!("({section})"))]);
    }
    roff.text(line);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_verb_and_status() {
        let page = page().unwrap();
        for heading in ["EXIT STATUS", "FILES", "SEE ALSO", "EXAMPLES", "COMMANDS"] {
            assert!(page.contains(heading), "{heading}");
        }
        let mut command = Cli::command();
        command.build();
        for verb in visible(&command) {
            let heading = |line: &str| {
                line.trim_start_matches(".SS ").trim_start_matches('"').starts_with(verb.get_name())
            };
            assert!(
                page.lines().any(|line| line.starts_with(".SS ") && heading(line)),
                "{}",
                verb.get_name()
            );
        }
        assert!(page.contains(".SS \"audit verify\""), "{page}");
        assert!(!page.contains("completions"), "hidden verbs stay hidden");
        assert!(page.contains("130"));
    }

    #[test]
    fn every_shell_gets_its_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(completions(shell).unwrap().contains("approve"), "{shell}");
        }
    }
}
