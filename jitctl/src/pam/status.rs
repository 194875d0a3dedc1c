//! `pam status`: which stacks ask jitd, and the command that mends one that does not.

use clap::Args;
use jit_host::pam_edit::{Lines, SERVICES, goes_by, has_lines};
use jit_host::pam_stack::{Fault, State, state};
use jit_proto::escape::Escaped;
use serde::Serialize;

use super::files::Folder;
use super::pending::Pending;
use super::{a_service, timer};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render::local;

/// Options of `pam status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The PAM services; without one, all that this host has
    #[arg(value_name = "SERVICE", value_parser = a_service())]
    services: Vec<String>,
    /// Exit with status 1 if a stack that is shown does not ask jitd or is broken, or a change waits for its confirmation
    #[arg(long)]
    exit_code: bool,
}

/// Everything that is shown.
#[derive(Debug, Serialize)]
struct StatusView {
    services: Vec<ServiceView>,
    /// The change that waits; none where there is none, or this is not root, who alone may see it.
    pending: Option<PendingView>,
}

/// A stack.
#[derive(Debug, Serialize)]
struct ServiceView {
    service: String,
    /// `asks`, `tracks` (denies nobody, keeps what is started inside its session), `does_not_ask` or `broken`.
    state: &'static str,
    /// Whether this is what the service is for: `tracks` is enough for runuser, which only root can use.
    fine: bool,
    /// The file that decides; empty where nothing is wrong.
    file: String,
    /// Line in it, from 1; 0 where no line is to blame.
    line: u64,
    message: String,
    /// The command that mends it; empty where nothing is wrong.
    mend: String,
}

/// A change that waits.
#[derive(Debug, Serialize)]
struct PendingView {
    services: Vec<String>,
    undo_at: u64,
    /// Whether PID 1 has the timer; without it, `jitctl pam undo` and the next start of the host undo the change.
    armed: bool,
}

/// `pam status`.
pub(super) fn status(args: &StatusArgs, output: &Output) -> Result<Exit, Failure> {
    let folder = Folder::of_host();
    let named = |service: &str| args.services.is_empty() || args.services.iter().any(|name| name == service);
    let mut services = Vec::new();
    for (service, lines) in SERVICES.into_iter().filter(|(service, _)| named(service)) {
        match state(service, lines == Lines::Gate) {
            Some(state) => services.push(view(&folder, service, lines, state)),
            None if args.services.is_empty() => {}
            None => output.talk(&format!("{service}: this host has neither the program nor a stack for it")),
        }
    }
    // Only root can look: the folder is closed to others.
    let pending = Pending::read(&folder).ok().flatten().filter(|pending| pending.is_in_force(&folder));
    let pending = pending.map(|Pending { services, undo_at, unit }| PendingView {
        services,
        undo_at,
        armed: timer::is_armed(&unit),
    });
    let view = StatusView { services, pending };
    output.view(&view, text)?;
    let wrong = view.pending.is_some() || view.services.iter().any(|service| !service.fine);
    Ok(if args.exit_code && wrong { Exit::Failed } else { Exit::Done })
}

fn view(folder: &Folder, service: &str, lines: Lines, state: State) -> ServiceView {
    let (name, fault) = match state {
        State::Asks => ("asks", None),
        State::Tracks => ("tracks", None),
        State::DoesNotAsk(fault) => ("does_not_ask", Some(fault)),
        State::Broken(fault) => ("broken", Some(fault)),
    };
    let fine = name == "asks" || name == "tracks" && lines == Lines::Track;
    let mend = match &fault {
        None if fine => String::new(),
        Some(fault) if fault.message.ends_with("is not there") => "apt install --reinstall jitd".to_owned(),
        Some(fault) if fault.message.contains("backslash") || fault.message.contains("cannot be read") => {
            format!("editor {}", fault.file.display())
        }
        _ => format!("jitctl pam enable {}", deciding(folder, service)),
    };
    // The backup of `enable` has no line of ours, that of `disable` has.
    let backup = std::fs::read_to_string(folder.backup(service));
    let was_in = name == "does_not_ask" && backup.is_ok_and(|text| !has_lines(&text));
    let fault =
        fault.unwrap_or_else(|| Fault { file: String::new().into(), line: 0, message: String::new() });
    let since =
        if was_in { "; its lines were there: a package or somebody has replaced the file" } else { "" };
    ServiceView {
        service: service.to_owned(),
        state: name,
        fine,
        file: fault.file.display().to_string(),
        line: fault.line,
        message: fault.message + since,
        mend,
    }
}

/// The service whose stack decides: `su` for `su-l`, whose file includes it.
fn deciding(folder: &Folder, service: &str) -> String {
    let by = folder.read(service).ok().and_then(|text| goes_by(&text));
    by.filter(|by| Lines::of(by).is_some()).unwrap_or_else(|| service.to_owned())
}

fn text(view: &StatusView) -> String {
    let mut text = String::new();
    for ServiceView { service, state, file, line, message, mend, .. } in &view.services {
        let state = match *state {
            "asks" => "asks jitd",
            "tracks" => "denies nobody; what is started through it stays inside its session",
            "broken" => "BROKEN",
            _ => "DOES NOT ASK",
        };
        text += &format!("{service:<10} {state}\n");
        if !message.is_empty() {
            let line = if *line == 0 { String::new() } else { format!(":{line}") };
            text += &format!("           {}{line}: {}\n", Escaped(file), Escaped(message));
        }
        if !mend.is_empty() {
            text += &format!("           to mend it: {}\n", Escaped(mend));
        }
    }
    if let Some(PendingView { services, undo_at, armed }) = &view.pending {
        let services = services.join(", ");
        let when = match armed {
            true => format!("is undone at {}", local(*undo_at)),
            false => "is undone at the next start of the host: PID 1 has no timer for it".to_owned(),
        };
        text += &format!("the change of {services} {when} unless you type: jitctl pam confirm\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(service: &str, lines: Lines, state: State) -> ServiceView {
        let folder = tempfile::tempdir().unwrap();
        let by = "account include su\nsession include su\n";
        std::fs::write(folder.path().join("su-l"), by).unwrap();
        view(&Folder::at(folder.path()), service, lines, state)
    }

    fn fault(message: &str) -> Fault {
        Fault { file: "/etc/pam.d/x".into(), line: 3, message: message.into() }
    }

    #[test]
    fn each_state_has_its_words_and_the_command_that_mends_it() {
        assert_eq!(shown("sudo", Lines::Gate, State::Asks).mend, "");
        assert_eq!(shown("runuser-l", Lines::Track, State::Tracks).mend, "");
        assert_eq!(shown("su-l", Lines::Gate, State::Tracks).mend, "jitctl pam enable su");
        let open = shown("sudo", Lines::Gate, State::DoesNotAsk(fault("it has no account line")));
        assert_eq!(
            (open.state, open.mend.as_str(), open.fine),
            ("does_not_ask", "jitctl pam enable sudo", false)
        );
        for (message, mend) in [
            ("pam_jit.so is not there", "apt install --reinstall jitd"),
            ("its stack cannot be read: x", "editor /etc/pam.d/x"),
            ("its account line says optional", "jitctl pam enable sudo"),
        ] {
            assert_eq!(shown("sudo", Lines::Gate, State::Broken(fault(message))).mend, mend);
        }
        let view = StatusView {
            services: vec![open],
            pending: Some(PendingView { services: vec!["sudo".into()], undo_at: 1, armed: false }),
        };
        let expected = "sudo       DOES NOT ASK\n           /etc/pam.d/x:3: it has no account line\n           \
            to mend it: jitctl pam enable sudo\nthe change of sudo is undone at the next start";
        assert!(text(&view).starts_with(expected), "{}", text(&view));
    }
}
