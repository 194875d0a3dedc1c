//! What has to be known before anything is done: from the options, and from questions where somebody sits at a terminal.

use clap::ValueEnum;
use jit_host::program::output_of;

use super::template::{People, Template};
use super::{Mode, SetupArgs};
use crate::ask;
use crate::failure::Failure;
use crate::output::Output;

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) template: Template,
    pub(super) requesters: People,
    pub(super) approvers: People,
    pub(super) run_as: String,
    pub(super) services: Vec<String>,
    pub(super) mode: Mode,
}

impl Answers {
    /// The file of the role.
    pub(super) fn file(&self) -> String {
        self.template.file(&self.requesters, &self.approvers, &self.run_as, &self.services)
    }

    /// The lines to try now.
    pub(super) fn next_steps(&self) -> String {
        let role = self.template.name();
        let somebody = |people: &People| people.0.iter().find(|name| !name.starts_with('@')).cloned();
        let asker = somebody(&self.requesters).unwrap_or_else(|| "requester".to_owned());
        let approver = somebody(&self.approvers).unwrap_or_else(|| "approver".to_owned());
        let keep = "Then keep the lines in PAM, which are taken out again in 10 minutes otherwise:\n    jitctl pam confirm\n";
        if self.mode == Mode::Observe {
            let services = self.services.join(" ");
            return format!(
                "\nTry it in another login, and keep this shell open:\n    \
                 {asker}$ sudo true     must work as before\n{keep}\
                 What would have been denied:\n    jitctl report --observe\n\
                 To deny from then on:\n    jitctl pam enable {services}\n"
            );
        }
        format!(
            "\nTry it in two other logins, and keep this shell open:\n    \
             {asker}$ sudo true     must be denied, with a line that begins with jit:\n    \
             {asker}$ jitctl request {role} --for 30m --reason \"trying jitd out\"\n    \
             {approver}$ jitctl approve 1\n{keep}"
        )
    }
}

/// Takes them from the options, and asks for the others where that is possible.
///
/// # Errors
/// When one is missing and nobody can be asked, or a name is nobody's.
pub(super) fn collect(args: &SetupArgs, output: &Output) -> Result<Answers, Failure> {
    let asks = !args.yes && ask::somebody(output);
    let template = match args.role {
        Some(template) => template,
        None if asks => asked_template(output)?,
        None => return Err(missing("--role", "web-admin, dba, on-call or break-glass")),
    };
    let role = template.name();
    let requesters = people(
        &args.requesters,
        asks,
        "--requesters",
        &format!("Who may request {role}? Users, and groups with an @ before them:"),
        output,
    )?;
    let approvers = people(
        &args.approvers,
        asks,
        "--approvers",
        "Who may approve? Nobody approves a request of their own:",
        output,
    )?;
    let run_as = args.run_as.clone().unwrap_or_else(|| template.run_as().to_owned());
    is_account("passwd", &run_as, "--run-as")?;
    if let Some(alone) = who_is_alone(&requesters, &approvers, members) {
        return Err(Failure::usage(&format!(
            "{alone} would be the only approver and requests {role} too, and nobody approves a request of their own: \
             name somebody else with --approvers"
        )));
    }
    let services = args.services.clone();
    let mode = match args.mode {
        Some(mode) => mode,
        None if asks => asked_mode(output)?,
        None => return Err(missing("--mode", "observe or enforce")),
    };
    Ok(Answers { template, requesters, approvers, run_as, services, mode })
}

fn missing(option: &str, what: &str) -> Failure {
    Failure::usage(&format!("{option} is missing ({what}); at a terminal, jitctl setup asks"))
}

fn asked_template(output: &Output) -> Result<Template, Failure> {
    let templates = Template::value_variants();
    for (number, template) in templates.iter().enumerate() {
        output.talk(&format!("  {}  {:12} {}", number + 1, template.name(), template.about()));
    }
    let answer = ask::line("Which role? A number or a name:", output)?;
    let by_number = answer.parse::<usize>().ok().and_then(|number| templates.get(number.checked_sub(1)?));
    let chosen = by_number.copied().or_else(|| Template::from_str(&answer, true).ok());
    chosen.ok_or_else(|| Failure::usage(&format!("{answer:?} is none of the roles; nothing was changed")))
}

fn asked_mode(output: &Output) -> Result<Mode, Failure> {
    output.talk("In observe mode jitd denies nobody and records what it would have denied.");
    let observe = ask::yes("Begin in observe mode?", output)?;
    Ok(if observe { Mode::Observe } else { Mode::Enforce })
}

fn people(
    given: &[String],
    asks: bool,
    option: &str,
    question: &str,
    output: &Output,
) -> Result<People, Failure> {
    let names = match given {
        [] if asks => split(&ask::line(question, output)?),
        given => given.iter().flat_map(|names| split(names)).collect(),
    };
    if names.is_empty() {
        return Err(missing(option, "users, and groups with an @ before them"));
    }
    for name in &names {
        match name.strip_prefix('@') {
            Some(group) => is_account("group", group, option)?,
            None => is_account("passwd", name, option)?,
        }
    }
    Ok(People(names))
}

/// Names between commas or blanks.
fn split(names: &str) -> Vec<String> {
    names.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Whether the host has such a user or group, in whatever directory its names come from (getent(1)).
fn is_account(database: &str, name: &str, option: &str) -> Result<(), Failure> {
    let kind = if database == "group" { "group" } else { "user" };
    let numbers = name.bytes().all(|byte| byte.is_ascii_digit());
    let found = output_of("getent", &[database, "--", name]);
    match found {
        Ok(_) if !numbers => Ok(()),
        Ok(_) => Err(Failure::usage(&format!("{option}: write the name of {kind} {name}, not its number"))),
        Err(_) => {
            Err(Failure::usage(&format!("{option}: this host has no {kind} {name:?}; nothing was changed")))
        }
    }
}

/// The members of a group, as far as the host lists them.
fn members(group: &str) -> Vec<String> {
    let line = output_of("getent", &["group", "--", group]).unwrap_or_default();
    line.trim().rsplit(':').next().map(split).unwrap_or_default()
}

/// The only approver, where that person is also the only one who would request. Groups whose members are not listed may
/// have others.
fn who_is_alone(
    requesters: &People,
    approvers: &People,
    members: impl Fn(&str) -> Vec<String>,
) -> Option<String> {
    let all = |people: &People| -> Option<Vec<String>> {
        let mut all = Vec::new();
        for name in &people.0 {
            match name.strip_prefix('@') {
                Some(group) => {
                    let listed = members(group);
                    if listed.is_empty() {
                        return None;
                    }
                    all.extend(listed);
                }
                None => all.push(name.clone()),
            }
        }
        all.sort_unstable();
        all.dedup();
        Some(all)
    };
    match all(approvers)?.as_slice() {
        [only] if all(requesters)?.contains(only) => Some(only.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(names: &[&str]) -> People {
        People(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn an_approver_who_is_alone_is_found_also_behind_a_group() {
        let members = |group: &str| match group {
            "leads" => vec!["bob".to_owned()],
            "ops" => vec!["alice".to_owned(), "bob".to_owned()],
            _ => Vec::new(),
        };
        let alone = |requesters: &[&str], approvers: &[&str]| {
            who_is_alone(&people(requesters), &people(approvers), members)
        };
        assert_eq!(alone(&["alice"], &["alice"]), Some("alice".to_owned()));
        assert_eq!(alone(&["@ops"], &["@leads"]), Some("bob".to_owned()));
        assert_eq!(alone(&["alice"], &["bob"]), None);
        assert_eq!(alone(&["@ops"], &["bob", "carol"]), None);
        assert_eq!(alone(&["bob"], &["@directory"]), None, "nobody knows who is in that group");
    }

    #[test]
    fn names_are_separated_by_commas_and_blanks() {
        assert_eq!(split("alice, @webops  bob,"), ["alice", "@webops", "bob"]);
    }
}
