//! The rules of sudoers, by sudo's own parser (cvtsudoers(1)), and whether one of them applies to a person.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::accounts::members_of_group;
use crate::program::output_of;

const CVTSUDOERS: &str = "/usr/bin/cvtsudoers";

/// A rule of sudoers. Where sudo's stack asks jitd, an open window is needed as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SudoRule {
    /// A user, `%group` or ALL.
    pub who: String,
    /// The members, if `who` is a group.
    pub members: Vec<String>,
    /// The target user.
    pub run_as: String,
    /// The commands.
    pub commands: Vec<String>,
    /// Whether sudo asks for a password.
    pub password: bool,
}

/// The rules of sudoers, by sudo's own parser.
///
/// # Errors
/// A sentence: the caller is not root, or sudoers cannot be read.
pub fn installed() -> Result<Vec<SudoRule>, String> {
    if !rustix::process::geteuid().is_root() {
        let gap =
            "sudoers is readable for root only, and this was not called by root: who is in it is not known";
        return Err(gap.to_owned());
    }
    let sudoers = output_of(CVTSUDOERS, &["-f", "json", "/etc/sudoers"]).and_then(|said| {
        serde_json::from_str::<Value>(&said).map_err(|why| format!("{CVTSUDOERS} printed no JSON: {why}"))
    });
    let sudoers = sudoers.map_err(|why| format!("sudoers could not be read: {why}"))?;
    Ok(rules(&sudoers, members_of_group))
}

/// An option that a `Defaults` line of sudoers sets (sudoers(5), SUDOERS OPTIONS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SudoOption {
    /// For what it is set: a user, `%group`, host or command; empty where for everything.
    pub only_for: String,
    /// Its name.
    pub name: String,
    /// Its value; `true` or `false` where it is a flag.
    pub value: String,
}

/// The options that a file of sudoers sets, in their order, and those of the files that it includes, by sudo's own reader.
///
/// # Errors
/// A clause: the file cannot be read.
pub fn options_in(file: &str) -> Result<Vec<SudoOption>, String> {
    let printed = output_of(CVTSUDOERS, &["-f", "json", file])?;
    let sudoers: Value =
        serde_json::from_str(&printed).map_err(|why| format!("{CVTSUDOERS} printed no JSON: {why}"))?;
    Ok(options(&sudoers))
}

/// The options in what `cvtsudoers -f json` prints.
fn options(sudoers: &Value) -> Vec<SudoOption> {
    let mut found = Vec::new();
    for defaults in list(&sudoers["Defaults"]) {
        let bound: Vec<String> = list(&defaults["Binding"]).map(one).collect();
        for option in list(&defaults["Options"]).filter_map(Value::as_object).flatten() {
            let (name, value) = option;
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            found.push(SudoOption { only_for: bound.join(", "), name: name.clone(), value });
        }
    }
    found
}

/// Whether a rule of sudoers applies to this person; `None` where that is unknown: for a caller other than root, where
/// sudo has other sources too (nsswitch.conf(5), sudoers), or where a rule names people in a way that is not supported
/// here.
#[must_use]
pub fn names(user: &str) -> Option<bool> {
    let switch = std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let elsewhere = switch.lines().any(|line| {
        let sources = line.trim().strip_prefix("sudoers:");
        sources.is_some_and(|sources| sources.split_whitespace().any(|source| source != "files"))
    });
    if elsewhere {
        return None;
    }
    let rules = installed().ok()?;
    let groups = output_of("/usr/bin/id", &["-Gnz", "--", user]).ok()?;
    let uid = output_of("/usr/bin/id", &["-u", "--", user]).ok()?;
    is_named(&rules, user, uid.trim(), &groups.split('\0').collect::<Vec<_>>())
}

fn is_named(rules: &[SudoRule], user: &str, uid: &str, groups: &[&str]) -> Option<bool> {
    let mut unknown = false;
    for rule in rules {
        match rule.who.as_str() {
            "ALL" => return Some(true),
            who if who == user => return Some(true),
            who => match (who.strip_prefix('%'), who.strip_prefix('#')) {
                (Some(group), _) if groups.contains(&group) => return Some(true),
                (Some(group), _) => unknown |= group.starts_with(['#', ':']),
                (_, Some(number)) if number == uid => return Some(true),
                (_, Some(_)) => {}
                _ => unknown |= who.starts_with(['+', '!', '?']),
            },
        }
    }
    (!unknown).then_some(false)
}

/// The rules in the output of `cvtsudoers -f json`; aliases of people are resolved, other aliases are shown by name.
fn rules(sudoers: &Value, members: impl Fn(&str) -> Vec<String>) -> Vec<SudoRule> {
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut found = Vec::new();
    for spec in list(&sudoers["User_Specs"]) {
        for who in list(&spec["User_List"]).flat_map(|who| people(who, &sudoers["User_Aliases"], 0)) {
            let names = match who.strip_prefix('%') {
                Some(group) => known.entry(group.to_owned()).or_insert_with(|| members(group)).clone(),
                None => Vec::new(),
            };
            for commands in list(&spec["Cmnd_Specs"]) {
                found.push(SudoRule {
                    who: who.clone(),
                    members: names.clone(),
                    run_as: run_as(commands),
                    commands: list(&commands["Commands"]).map(one).collect(),
                    password: list(&commands["Options"]).all(|option| option["authenticate"] != false),
                });
            }
        }
    }
    found
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The people of an entry in a list of users. Aliases can name aliases; the depth is bounded.
fn people(who: &Value, aliases: &Value, depth: u32) -> Vec<String> {
    match who["useralias"].as_str() {
        Some(alias) if depth < 8 && aliases[alias].is_array() => {
            list(&aliases[alias]).flat_map(|who| people(who, aliases, depth + 1)).collect()
        }
        _ => vec![one(who)],
    }
}

/// One entry of a list: `{"username": "alice"}`, `{"usergroup": "sudo"}`, `{"command": "ALL"}`, each with `negated`.
fn one(entry: &Value) -> String {
    let Value::Object(entry) = entry else { return entry.to_string() };
    let negated = entry.get("negated") == Some(&Value::Bool(true));
    let named = entry
        .iter()
        .find(|(key, _)| !matches!(key.as_str(), "negated" | "sha224" | "sha256" | "sha384" | "sha512"));
    let text = match named {
        Some((key, value)) => {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match key.as_str() {
                "usergroup" => format!("%{value}"),
                "userid" => format!("#{value}"),
                "netgroup" => format!("+{value}"),
                _ => value,
            }
        }
        None => "?".to_owned(),
    };
    if negated { format!("!{text}") } else { text }
}

fn run_as(commands: &Value) -> String {
    let users: Vec<String> = list(&commands["runasusers"]).map(one).collect();
    let group = |entry: &Value| one(entry).trim_start_matches('%').to_owned();
    let groups: Vec<String> = list(&commands["runasgroups"]).map(group).collect();
    match (users.as_slice(), groups.as_slice()) {
        ([], []) => "root".to_owned(),
        (users, []) => users.join(", "),
        (users, groups) => format!("{}:{}", users.join(", "), groups.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sudoers_is_read_as_cvtsudoers_prints_it() {
        // cvtsudoers -f json of: User_Alias OPS = dave, %webops / OPS ALL=(ALL:ALL) NOPASSWD: ALL, !/bin/su
        let sudoers = json!({
            "User_Aliases": { "OPS": [ { "username": "dave" }, { "usergroup": "webops" } ] },
            "User_Specs": [
                { "User_List": [ { "useralias": "OPS" } ], "Host_List": [ { "hostname": "ALL" } ],
                  "Cmnd_Specs": [ { "runasusers": [ { "username": "ALL" } ], "runasgroups": [ { "usergroup": "ALL" } ],
                    "Options": [ { "authenticate": false }, { "setenv": true } ],
                    "Commands": [ { "command": "ALL" }, { "command": "/bin/su", "negated": true } ] } ] },
                { "User_List": [ { "username": "root" } ], "Cmnd_Specs": [ { "Commands": [ { "command": "ALL" } ] } ] }
            ]
        });
        let found = rules(&sudoers, |group| vec![format!("{group}-member")]);
        assert_eq!(found.len(), 3);
        assert_eq!(
            found[1],
            SudoRule {
                who: "%webops".into(),
                members: vec!["webops-member".into()],
                run_as: "ALL:ALL".into(),
                commands: vec!["ALL".into(), "!/bin/su".into()],
                password: false,
            }
        );
        assert_eq!(
            (found[2].who.as_str(), found[2].run_as.as_str(), found[2].password),
            ("root", "root", true)
        );
        assert!(rules(&json!({}), |_| Vec::new()).is_empty());
        // An alias that names itself ends at the depth limit.
        let circle = json!({ "User_Aliases": { "A": [ { "useralias": "A" } ] },
            "User_Specs": [ { "User_List": [ { "useralias": "A" } ], "Cmnd_Specs": [ { "Commands": [] } ] } ] });
        assert_eq!(rules(&circle, |_| Vec::new()).len(), 1);
    }

    #[test]
    fn options_are_read_with_whom_they_are_for() {
        // cvtsudoers -f json of: Defaults env_reset, !pam_acct_mgmt / Defaults:dave, %ops pam_service=evil
        let sudoers = json!({ "Defaults": [
            { "Options": [ { "env_reset": true }, { "pam_acct_mgmt": false } ] },
            { "Binding": [ { "username": "dave" }, { "usergroup": "ops" } ], "Options": [ { "pam_service": "evil" } ] }
        ] });
        let found: Vec<(String, String, String)> =
            options(&sudoers).into_iter().map(|it| (it.only_for, it.name, it.value)).collect();
        let expected = [
            ("", "env_reset", "true"),
            ("", "pam_acct_mgmt", "false"),
            ("dave, %ops", "pam_service", "evil"),
        ];
        assert_eq!(
            found,
            expected.map(|(only_for, name, value)| (only_for.into(), name.into(), value.into()))
        );
        assert!(options(&json!({})).is_empty());
    }

    #[test]
    fn whether_sudoers_names_somebody_is_known_or_left_open() {
        let rule = |who: &str| SudoRule {
            who: who.into(),
            members: Vec::new(),
            run_as: "ALL".into(),
            commands: Vec::new(),
            password: true,
        };
        let named = |who: &[&str]| {
            let rules: Vec<SudoRule> = who.iter().map(|who| rule(who)).collect();
            is_named(&rules, "alice", "1000", &["alice", "web"])
        };
        for who in ["alice", "%web", "#1000", "ALL"] {
            assert_eq!(named(&["root", who]), Some(true), "{who}");
        }
        assert_eq!(named(&["root", "%sudo", "#0"]), Some(false));
        for who in ["+admins", "%#27", "!bob"] {
            assert_eq!(named(&["root", who]), None, "{who}");
        }
    }
}
