//! The PAM stages: read the items, ask the daemon, return a verdict.
//!
//! The verdict is [`Verdict::Deny`] on every path without an argument for another.

use crate::audit_session;
use crate::call::{self, Answer, Method, Question, Way};
use crate::cgroup::CgroupAtOpen;
use crate::error::{self, Unanswered};
use crate::feedback::{self, Severity};
use crate::options::{Duty, Options};
use crate::stage::Stage;
use jit_proto::polkit_protocol::SERVICE_PKEXEC;
use nix::unistd::User as Account;
use pam::items::{Item, RUser, Service, Tty, User};
use pam::module::PamHandle;
use rustix::process::{Uid, getuid};
use std::ffi::CStr;
use std::fmt;
use std::ops::Deref;

/// The verdict of a PAM stage. Few flipped bits do not turn one into the other (as in sudo-rs, `HARDENED_ENUM_VALUE`).
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Verdict {
    /// `PAM_SUCCESS`.
    Pass = 0x5245_d0a9,
    /// `PAM_PERM_DENIED`.
    Deny = 0xadba_2f56,
}

/// Account: starts an audit session, then asks whether the process may continue. sudo, sudo-rs, su and doas run this
/// stage each time that they run a command, also with a cached ticket and with NOPASSWD, and before they fork.
pub(crate) fn account(pamh: &PamHandle, arguments: &[&CStr]) -> Verdict {
    let hook = match Hook::read(pamh, Stage::Account, arguments) {
        Ok(hook) => hook,
        Err(verdict) => return verdict,
    };
    if hook.options.duty == Duty::Track {
        return hook.invalid("`track` belongs on the last session line");
    }
    if hook.options.enter {
        return hook.invalid("`enter` belongs on the first session line, where no account stage runs");
    }
    hook.enter()
}

/// Session: `gate` decides again for the target user, which is known now; `track` returns a process that another module
/// moved away.
pub(crate) fn open_session(pamh: &mut PamHandle, arguments: &[&CStr]) -> Verdict {
    let hook = match Hook::read(pamh, Stage::Session, arguments) {
        Ok(hook) => hook,
        Err(verdict) => return verdict,
    };
    let roots_own = || is_roots_own(getuid(), &hook.items.ruser);
    match hook.options.duty {
        // pkexec: nobody has asked yet whether this process may go on.
        Duty::Gate if hook.options.enter && hook.enter() != Verdict::Pass => Verdict::Deny,
        Duty::Gate => {
            let verdict = hook.ask(hook.way(), Method::Recheck, roots_own);
            let place = (verdict == Verdict::Pass).then(|| CgroupAtOpen::now(&hook.items.user)).flatten();
            if let Some(place) = place {
                place.keep(pamh);
            }
            verdict
        }
        Duty::Track if CgroupAtOpen::now(&hook.items.user).is_some_and(|place| place.is_as_kept(pamh)) => {
            hook.debug(format_args!("{}: nothing has moved", Method::Track));
            Verdict::Pass
        }
        Duty::Track => hook.ask(hook.way(), Method::Track, roots_own),
    }
}

/// A line in `auth` or `password`. Neither runs on every call (a ticket, NOPASSWD), so `gate` would protect nothing
/// there: it denies and says so, and never returns `PAM_IGNORE`, which would hide the mistake.
pub(crate) fn misplaced(pamh: &PamHandle, stage: Stage) -> Verdict {
    let items = Items::read(pamh);
    feedback::log(
        Severity::Err,
        &items.service,
        stage,
        "the line of pam_jit.so belongs in account and session",
    );
    show(pamh, &items.service, &[badly_configured(&items.service)]);
    Verdict::Deny
}

/// After a panic: reports an internal error, without the panic's message. Allows only in the account and session stages,
/// where the line has the option `observe`.
pub(crate) fn broken(pamh: &PamHandle, stage: Stage, arguments: &[&CStr]) -> Verdict {
    let items = Items::read(pamh);
    if matches!(stage, Stage::Account | Stage::Session) && Options::say_observe(arguments) {
        let said = "internal error in pam_jit.so; the call passes, since the line says observe";
        feedback::log(Severity::Err, &items.service, stage, said);
        return Verdict::Pass;
    }
    feedback::log(Severity::Err, &items.service, stage, "internal error in pam_jit.so; denied");
    show(
        pamh,
        &items.service,
        &[format!(
            "jit: {} is refused: internal error in pam_jit. Ask the administrator of this host.",
            items.service
        )],
    );
    Verdict::Deny
}

/// A call of a PAM stage: the items and the options of the line.
struct Hook<'a> {
    pamh: &'a PamHandle,
    stage: Stage,
    items: Items,
    options: Options,
}

impl<'a> Hook<'a> {
    /// Reads items and options; `Err` has the verdict if that is decided already.
    fn read(pamh: &'a PamHandle, stage: Stage, arguments: &[&CStr]) -> Result<Self, Verdict> {
        let items = Items::read(pamh);
        match Options::parse(arguments) {
            Ok(options) if options.cover(&items.service) => Ok(Self { pamh, stage, items, options }),
            Ok(_) => Err(Verdict::Pass),
            Err(bad) if Options::say_observe(arguments) => {
                let said = format!("pam_jit.so: {bad}; the call passes, since the line says observe");
                feedback::log(Severity::Err, &items.service, stage, &said);
                Err(Verdict::Pass)
            }
            Err(bad) => {
                feedback::log(Severity::Err, &items.service, stage, &format!("pam_jit.so: {bad}"));
                show(pamh, &items.service, &[badly_configured(&items.service)]);
                Err(Verdict::Deny)
            }
        }
    }

    /// Begins an audit session for this process, then asks whether it may go on.
    fn enter(&self) -> Verdict {
        let way = self.way();
        let caller = getuid();
        // root starts no audit session, so that a sudo inside a session stays in its parent's.
        let tagged = !caller.is_root()
            && self.options.tag
            && match audit_session::begin(caller) {
                Ok(session) => {
                    self.debug(format_args!("audit session {session} begun"));
                    true
                }
                Err(error) => {
                    self.debug(format_args!("no audit session of its own: {error}"));
                    false
                }
            };
        // root is never locked out: a process that gets here as root could also change the stack.
        self.ask(way, Method::Enter { tagged }, || caller.is_root())
    }

    /// The connection to the daemon. The deadline of the stage starts here.
    fn way(&self) -> Way {
        Way::new(self.options.bus, self.options.timeout)
    }

    /// Asks the daemon and returns the verdict. `root_passes` matters only without an answer.
    fn ask(&self, way: Way, method: Method, root_passes: impl FnOnce() -> bool) -> Verdict {
        let items = &self.items;
        let question = Question {
            method,
            service: &items.service,
            user: &items.user,
            ruser: &items.ruser,
            tty: &items.tty,
            observe: self.options.observe,
        };
        match call::ask(&way, &question) {
            Ok(Answer::Allowed(lines)) => {
                self.debug(format_args!("{method}: allowed"));
                self.show(&lines);
                Verdict::Pass
            }
            // A daemon that knows the option answers so only where it cannot look or record; an older one always may.
            Ok(Answer::Refused(text)) if self.options.observe => {
                let why = text.first().map_or("", String::as_str);
                self.log(
                    Severity::Err,
                    format_args!(
                        "{method}: {} passes, since the line says observe; jitd denied: {why}",
                        items.caller()
                    ),
                );
                Verdict::Pass
            }
            Ok(Answer::Refused(text)) => {
                self.log(Severity::Notice, format_args!("{method}: {} is refused", items.caller()));
                if text.is_empty() {
                    self.show(&[format!("jit: {} is refused.", items.service)]);
                } else {
                    self.show(&text);
                }
                Verdict::Deny
            }
            Err(why) if root_passes() => {
                self.log(Severity::Err, format_args!("{method}: {}; root passes, unrecorded", trouble(&why)));
                Verdict::Pass
            }
            Err(why) if self.options.observe => {
                self.log(
                    Severity::Err,
                    format_args!(
                        "{method}: {}; {} passes unrecorded, since the line says observe",
                        trouble(&why),
                        items.caller()
                    ),
                );
                Verdict::Pass
            }
            Err(why) => {
                let trouble = trouble(&why);
                self.log(Severity::Err, format_args!("{method}: {trouble}; {} is refused", items.caller()));
                // The administrator knows no more about the caller's own limits than the caller.
                let own = matches!(&why, Unanswered::Means(error) if error::is_own_limit(error));
                let ask = if own { "" } else { " Ask the administrator of this host." };
                self.show(&[format!("jit: {} is refused: {trouble}.{ask}", items.service)]);
                Verdict::Deny
            }
        }
    }

    fn invalid(&self, why: &str) -> Verdict {
        if self.options.observe {
            self.log(
                Severity::Err,
                format_args!("pam_jit.so: {why}; the call passes, since the line says observe"),
            );
            return Verdict::Pass;
        }
        self.log(Severity::Err, format_args!("pam_jit.so: {why}"));
        self.show(&[badly_configured(&self.items.service)]);
        Verdict::Deny
    }

    fn show(&self, lines: &[String]) {
        show(self.pamh, &self.items.service, lines);
    }

    fn log(&self, severity: Severity, text: fmt::Arguments<'_>) {
        feedback::log(severity, &self.items.service, self.stage, &text.to_string());
    }

    fn debug(&self, text: fmt::Arguments<'_>) {
        if self.options.debug {
            self.log(Severity::Debug, text);
        }
    }
}

/// Shows lines to the person, by the program that called. pkexec has no way to: asked to show something it aborts
/// (polkit, pkexec.c, `pam_conversation_function`); the daemon writes to the person's terminal instead.
fn show(pamh: &PamHandle, service: &str, lines: &[String]) {
    if service != SERVICE_PKEXEC {
        feedback::show(pamh, lines);
    }
}

/// The PAM items that are sent to the daemon, empty where they are not set. The daemon compares them with `/proc`, and
/// trusts none of them.
struct Items {
    service: String,
    user: String,
    ruser: String,
    tty: String,
}

/// Largest item that is sent, in bytes. Names are at most 256 (`LOGIN_NAME_MAX`), terminals a path.
const MAX_ITEM_BYTES: usize = 1024;

impl Items {
    fn read(pamh: &PamHandle) -> Self {
        Self {
            service: item::<Service<'_>>(pamh),
            user: item::<User<'_>>(pamh),
            ruser: item::<RUser<'_>>(pamh),
            tty: item::<Tty<'_>>(pamh),
        }
    }

    /// The caller, for the system log.
    fn caller(&self) -> String {
        format!("uid {} (user {:?}, ruser {:?})", getuid(), self.user, self.ruser)
    }
}

fn item<'a, T: Item<'a> + Deref<Target = &'a CStr>>(pamh: &'a PamHandle) -> String {
    let Ok(Some(item)) = pamh.get_item::<T>() else { return String::new() };
    let bytes = item.to_bytes();
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_ITEM_BYTES)]).into_owned()
}

/// Whether a session is root's own: real uid 0, and no other user in `PAM_RUSER`. Under sudoedit the real uid is 0 here
/// while `PAM_RUSER` is the invoker.
fn is_roots_own(caller: Uid, ruser: &str) -> bool {
    caller.is_root()
        && (ruser.is_empty()
            || Account::from_name(ruser).ok().flatten().is_some_and(|account| account.uid.is_root()))
}

/// The error as a clause for the log and for the person.
fn trouble(why: &Unanswered) -> String {
    match why {
        Unanswered::Error(text) => format!("jitd could not decide ({text})"),
        Unanswered::Means(error) if error::is_own_limit(error) => match error::descriptor_limit() {
            Some(limit) => format!("too many open files in this process: its limit (ulimit -n) is {limit}"),
            None => "too many open files in this process".to_owned(),
        },
        other => format!("jitd cannot be reached ({other})"),
    }
}

fn badly_configured(service: &str) -> String {
    format!(
        "jit: {service} is refused: the pam_jit line in its PAM configuration is not valid; the system log says why. \
         Ask the administrator of this host."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_roots_own_only_where_nobody_else_asks() {
        assert!(is_roots_own(Uid::ROOT, ""));
        assert!(is_roots_own(Uid::ROOT, "root"));
        assert!(!is_roots_own(Uid::ROOT, "nobody"));
        assert!(!is_roots_own(Uid::ROOT, "no such user"));
        assert!(!is_roots_own(Uid::from_raw(1000), ""));
        assert!(!is_roots_own(Uid::from_raw(1000), "root"));
    }
}
