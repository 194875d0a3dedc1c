//! The stories: what people see on real, booted hosts. Each test is one behaviour, on a host of its own.
//!
//! A new story goes into the module whose sentence it fits: `cargo test ... --test stories -- gate::window::` runs one module.

/// sudo, su and doas ask jitd at the PAM gate.
mod gate {
    /// Without a window nobody but root elevates; the denial says what to type.
    pub(crate) mod denied;

    /// In a window what was requested works, and nothing beyond it.
    mod window;

    /// In a window sudo and sudo-rs behave as without the module.
    mod transparent;

    /// A role limited to some users gives no group that it does not name.
    mod groups;

    /// pkexec, systemctl and run0 ask jitd through polkit's rule.
    mod polkit;

    /// jitd down, stuck or replaced: denied in time, with the reason.
    mod unreachable;

    /// In observe mode nobody is denied, what would have been is recorded, and the report counts it.
    mod observe;

    /// What a user puts into the environment of sudo changes nothing.
    mod environment;

    /// The PAM module leaves no descriptor, thread or memory in the program that loads it.
    mod module_leaks;

    /// Scripted attacks, without a window, in one, and as root in one.
    mod attacks;

    /// Users who cause as much work as they can delay nobody else.
    mod floods;

    /// What was wrong with other programs of this kind, tried here.
    mod published_faults;
}

/// Requests and grants: who may do what, and what they hear.
mod request {
    /// Who may approve, deny and revoke, and who may read what.
    mod authority;

    /// Who is speaking: windows, jobs, second accounts and their votes.
    mod callers;

    /// Every command from every origin, against the table of authority.
    mod every_command;

    /// A mistake in the policy is named; the policy in force stays.
    mod policy;

    /// A grant ends when its holder may no longer have it.
    mod eligibility;

    /// Grants that are extended, that overlap, that announce their end.
    mod extend;

    /// Approvers, requesters and sessions are notified at their terminals.
    mod terminal_notices;
}

/// What runs in a window, and its end.
mod session {
    /// At the end of a window every process of it ends, and the audit log counts them.
    pub(crate) mod end;

    /// Process trees that resist are gone at the end all the same.
    mod process_tree;

    /// PID 1 ends sessions on time where jitd is killed, stopped or masked.
    mod without_jitd;

    /// Root lifts the deadline of PID 1: it is seen, recorded and set again.
    mod lifted_deadline;

    /// A sudo that passed the check in the window and runs its command after it.
    mod late_exec;

    /// An ended session leaves no scope in PID 1.
    mod leftover_scopes;

    /// A cgroup whose members cannot be read is not taken for an empty one.
    mod unreadable_cgroup;

    /// Unused grants and idle sessions end; work that must not be cut may finish.
    mod idle;

    /// Grants and sessions outlive jitd; grants outlive a reboot.
    mod restart;

    /// Ways out of a window that root keeps: what the audit log shows of them.
    mod escapes;
}

/// The audit log, its copies, its readers.
mod audit {
    /// The audit log shows that it was changed, and reaches syslog.
    mod chain;

    /// The seal and the copies name what root changed in the audit log.
    mod seal;

    /// A store that is removed, emptied, damaged or cut off from power.
    mod store;

    /// Old records move to the archive.
    mod retention;

    /// Records to syslog, the journal and a file, whatever is down meanwhile.
    mod forwarding;

    /// One command has rsyslog write RFC 5424, or changes nothing.
    mod rsyslog_setup;

    /// Reads syslog messages as RFC 5424 has it.
    mod rfc5424;

    /// Records to a collector on another machine.
    mod collector;

    /// Search, follow, export, and the report with its figures.
    mod report;

    /// From a record to the journal, to the log of sudo, to what was typed.
    mod links;

    /// Alerts, and the hook and the mail that notify people.
    mod alerts;

    /// Text that users write forges no line, no field, no page.
    mod untrusted_text;
}

/// The host: package, PAM stacks, drift, endurance of the daemon.
mod host {
    /// From the package to the first denied and the first allowed sudo, with what README says to type.
    mod setup;

    /// Hosts, logins and terminals of this harness, without the package.
    mod bare_host;
    /// `make demo`, played to its end.
    mod demo;

    /// Installation changes nothing for sudo; removal locks nobody out.
    mod package;

    /// Doctor tries every way to root, and names mistakes with their mend.
    mod doctor;

    /// A PAM stack that does not ask jitd is named and is an alert.
    mod pam_stacks;

    /// `jitctl pam`: a change of stacks is whole, tried, and undone unless confirmed.
    mod pam_enable;

    /// What a session leaves behind to have privilege later is named.
    mod persistence;

    /// The drift scan: every plant, noise, ordinary administration.
    pub(crate) mod drift;

    /// Many sudos, grants and sessions: memory and descriptors.
    mod endurance;
}

/// The command line.
mod cli {
    /// Mistakes in commands get a helpful answer; output fits the terminal.
    mod usage;
}
