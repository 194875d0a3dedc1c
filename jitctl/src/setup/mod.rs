//! `setup`: the first role, the PAM lines and the seal, by a few questions or options; whole or not at all.

mod answers;

mod role_file;

mod template;

use clap::{Args, ValueEnum};
use jit_host::program::output_of;
use jit_proto::bus::names::error;
use jit_proto::bus::view::Severity;

use self::answers::Answers;
use self::role_file::RoleFile;
use self::template::Template;
use crate::audit::seal::{self, SealArgs};
use crate::client::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::{ask, pam, policy};

/// Whether sudo is denied without a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Record what would be denied, and deny nobody
    Observe,
    /// Deny
    Enforce,
}

/// Options of `setup`.
#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    /// The ready-made role to begin with
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Option<Template>,
    /// Who may request it: users, and groups with an @ before them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requesters: Vec<String>,
    /// Who may approve: users, and groups with an @ before them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    approvers: Vec<String>,
    /// Whom the role lets people become, instead of the role's own
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    /// The PAM services that ask jitd from now on
    #[arg(long, value_name = "SERVICES", value_delimiter = ',', default_value = "sudo,sudo-i", value_parser = pam::a_service())]
    services: Vec<String>,
    /// Deny without a window, or only record what would be denied (the default where a person is asked: they choose)
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<Mode>,
    /// Do not begin the seal of the audit log
    #[arg(long)]
    no_seal: bool,
    /// Show the role's file and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for anything
    #[arg(long, short)]
    yes: bool,
}

/// `setup`.
///
/// # Errors
/// When it did not come to its end. Nothing is changed then, or all that was changed is undone.
pub(crate) async fn run(args: SetupArgs, output: &Output) -> Result<Exit, Failure> {
    if output.is_json() {
        return Err(Failure::usage(
            "setup prints no JSON; jitctl policy show --json and jitctl pam status --json show what it set up",
        ));
    }
    if !rustix::process::geteuid().is_root() {
        let message =
            "only root can set up the host: setup writes below /etc; in a root shell type: jitctl setup";
        return Err(Failure::new(Exit::Refused, error::NOT_AUTHORIZED, message));
    }
    let daemon = Daemon::reach().await?;
    let answers = answers::collect(&args, output)?;
    let path = RoleFile::path_of(answers.template.name());
    if path.exists() {
        return Err(failed(&format!(
            "{} is there already: change it with an editor, or choose another role; nothing was changed",
            path.display()
        )));
    }
    let text = answers.file();
    output.talk(&format!("The file of the role, {}:\n\n{text}", path.display()));
    if args.dry_run {
        output.talk("nothing was changed (--dry-run)");
        return Ok(Exit::Done);
    }
    let question = "Write this file and put the lines of jitd into PAM?";
    let goes_on = args.yes || ask::somebody(output) && ask::yes(question, output)?;
    if !goes_on {
        return Err(failed("nothing was changed: there was no yes to the question"));
    }
    let file = RoleFile::write(path, &text)
        .map_err(|why| failed(&format!("the file cannot be written: {why}; nothing was changed")))?;
    if let Err(mut failure) = bring_into_force(&daemon, &answers, output).await {
        drop(file);
        failure.message.push_str("; setup has removed the file of the role again");
        if let Err(why) = reload() {
            let message = &failure.message;
            failure.message = format!("{message}, and jitd could not be told ({why}): systemctl reload jitd");
        }
        return Err(failure);
    }
    file.keep();
    if !args.no_seal {
        // The host is set up without a seal too: a first seal that is there already stays.
        if let Err(why) = seal::begin(SealArgs::INIT, output).await {
            output.talk(&format!("the audit log was not sealed by this: {why}"));
        }
    }
    output.text(&answers.next_steps())?;
    Ok(Exit::Done)
}

/// Has jitd check and take the role, then puts its lines into the stacks, which are tried before they change.
async fn bring_into_force(daemon: &Daemon, answers: &Answers, output: &Output) -> Result<(), Failure> {
    let problems = daemon.policy_check().await?;
    if !problems.is_empty() {
        output.talk(policy::problems(&problems).trim_end());
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(failed("jitd does not accept the policy with this role"));
    }
    reload().map_err(|why| failed(&format!("jitd did not read the policy again: {why}")))?;
    pam::enable(answers.services.clone(), answers.mode == Mode::Observe, output).await
}

/// Has jitd read the policy again; fails where jitd does not accept it.
fn reload() -> Result<(), String> {
    output_of("systemctl", &["reload", "jitd.service"]).map(drop)
}

fn failed(why: &str) -> Failure {
    Failure::new(Exit::Failed, error::FAILED, why)
}
