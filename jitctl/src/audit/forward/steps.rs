//! The steps of a change of the host, taken in order and undone together where one fails.

use jit_host::program::output_of;

use super::change::Change;
use super::failed;
use crate::failure::Failure;

/// One step.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// rsyslog reads its configuration and finds no error (`rsyslogd -N1`).
    Check,
    /// jitd would accept its policy files as they are, which it reads again later.
    CheckPolicy,
    /// The folder of the socket is there (tmpfiles.d(5)).
    Folder,
    /// A file is written or removed.
    Write(Change),
    /// rsyslog starts again.
    Restart,
    /// jitd reads its settings again, which it records.
    Reload,
}

/// Whatever runs programs.
pub(super) trait Programs {
    /// Runs a program; the error is a clause with what it printed.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String>;
}

/// The host itself.
#[derive(Debug)]
pub(super) struct Host;

impl Programs for Host {
    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        output_of(program, arguments).map(drop).map_err(|printed| sentence(&printed))
    }
}

/// What was done, so that it can be undone.
#[derive(Debug)]
pub(super) struct Done(Vec<Step>);

/// Takes each step. Where one fails, the files are put back, and rsyslog and jitd read them again where they had read the
/// new ones.
///
/// # Errors
/// What failed, and what could not be undone.
pub(super) fn take(steps: Vec<Step>, host: &impl Programs) -> Result<Done, Failure> {
    let mut done = Done(Vec::new());
    for step in steps {
        let result = step.take(host);
        done.0.push(step);
        if let Err(why) = result {
            return Err(done.undo(host, &why));
        }
    }
    Ok(done)
}

impl Done {
    /// Undoes everything, for a reason.
    pub(super) fn undo(self, host: &impl Programs, why: &str) -> Failure {
        let mut left = Vec::new();
        for step in self.0.iter().rev() {
            if let Step::Write(change) = step
                && let Err(why) = change.undo()
            {
                left.push(why);
            }
        }
        for again in [Step::Restart, Step::Reload] {
            let was_taken = |step: &Step| std::mem::discriminant(step) == std::mem::discriminant(&again);
            if self.0.iter().any(was_taken)
                && let Err(why) = again.take(host)
            {
                left.push(why);
            }
        }
        if left.is_empty() {
            failed(&format!("{why}; everything is as it was before"))
        } else {
            failed(&format!("{why}; and what was changed could not be undone: {}", left.join("; ")))
        }
    }
}

impl Step {
    fn take(&self, host: &impl Programs) -> Result<(), String> {
        match self {
            Self::Check => host
                .run("/usr/sbin/rsyslogd", &["-N1"])
                .map_err(|why| format!("rsyslog does not accept its configuration: {why}")),
            Self::CheckPolicy => host.run("/usr/libexec/jitd", &["--check"]).map_err(|_| {
                "the policy files have problems, so jitd would not reload them (jitctl policy check names each)".to_owned()
            }),
            Self::Folder => host.run("/usr/bin/systemd-tmpfiles", &["--create", "jitd.conf"]),
            Self::Write(change) => change.make(),
            Self::Restart => host.run("/usr/bin/systemctl", &["restart", "rsyslog.service"]),
            Self::Reload => host.run("/usr/bin/systemctl", &["reload", "jitd.service"]),
        }
    }
}

/// The lines of a program in one sentence, without those in which rsyslogd says that it begins and ends.
fn sentence(printed: &str) -> String {
    let said = printed.lines().map(str::trim).filter(|line| {
        !line.is_empty() && !line.contains("config validation run (level") && !line.contains("End of config")
    });
    said.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Programs of which one fails.
    struct Failing<'a>(&'a str, RefCell<Vec<String>>);

    impl Programs for Failing<'_> {
        fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
            let line = format!("{program} {}", arguments.join(" "));
            let is_first = !self.1.borrow().contains(&line);
            self.1.borrow_mut().push(line.clone());
            if line.contains(self.0) && is_first { Err("it is broken".to_owned()) } else { Ok(()) }
        }
    }

    fn steps(folder: &Path) -> Vec<Step> {
        let write = |name: &str, text: Option<&str>| {
            Step::Write(Change::of(&folder.join(name), text.map(str::to_owned)).unwrap())
        };
        let (new, there, gone) = (write("new", Some("1")), write("there", Some("2")), write("gone", None));
        vec![Step::CheckPolicy, Step::Folder, new, there, gone, Step::Check, Step::Restart, Step::Reload]
    }

    #[test]
    fn a_step_that_fails_puts_everything_back() {
        for fails in ["tmpfiles", "-N1", "restart", "reload"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("there"), "before\n").unwrap();
            fs::write(folder.path().join("gone"), b"not \xff text").unwrap();
            let host = Failing(fails, RefCell::default());
            let failure = take(steps(folder.path()), &host).unwrap_err();
            assert!(failure.message.contains("it is broken; everything is as it was before"), "{failure}");
            assert!(!folder.path().join("new").exists());
            assert_eq!(fs::read(folder.path().join("there")).unwrap(), b"before\n");
            assert_eq!(fs::read(folder.path().join("gone")).unwrap(), b"not \xff text");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
            // Whoever has read the new files reads the old ones.
            let ran = host.1.into_inner();
            let times = |what: &str| ran.iter().filter(|line| line.contains(what)).count();
            assert_eq!(
                times("restart"),
                if ["restart", "reload"].contains(&fails) { 2 } else { 0 },
                "{ran:?}"
            );
            assert_eq!(times("reload"), if fails == "reload" { 2 } else { 0 }, "{ran:?}");
        }
    }

    #[test]
    fn what_could_not_be_undone_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("there"), "before\n").unwrap();
        fs::write(folder.path().join("gone"), "x").unwrap();
        let done = take(steps(folder.path()), &Failing("nothing", RefCell::default())).unwrap();
        let failure = done.undo(&Failing("restart", RefCell::default()), "the line did not arrive");
        assert_eq!(
            failure.message,
            "the line did not arrive; and what was changed could not be undone: it is broken"
        );
    }

    #[test]
    fn what_rsyslogd_prints_becomes_one_sentence() {
        let printed = "/usr/sbin/rsyslogd failed: rsyslogd: version 8.2504.0, config validation run (level 1), master config x\n\
                       rsyslogd: error during parsing file /etc/rsyslog.d/x.conf, on or before line 1: no\nrsyslogd: also this\n";
        assert_eq!(
            sentence(printed),
            "rsyslogd: error during parsing file /etc/rsyslog.d/x.conf, on or before line 1: no; rsyslogd: also this"
        );
        assert_eq!(
            sentence("/usr/bin/systemctl cannot be run: no\n"),
            "/usr/bin/systemctl cannot be run: no"
        );
    }
}
