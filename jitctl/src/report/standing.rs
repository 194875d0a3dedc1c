//! What privilege stands on the host whether or not a window is open: sudoers by way of cvtsudoers, gates, uid 0.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde::Serialize;
use serde_json::Value;

/// Where sudo's own reader of its rules is (cvtsudoers(1)).
const CVTSUDOERS: &str = "/usr/bin/cvtsudoers";
/// The services by which somebody becomes another, and where their stacks are.
const SERVICES: [&str; 9] =
    ["sudo", "sudo-i", "su", "su-l", "runuser", "runuser-l", "doas", "polkit-1", "cockpit"];
const STACKS: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];

/// What was found.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Standing {
    /// The rules of sudoers; none where they could not be read.
    pub(super) rules: Option<Vec<SudoRule>>,
    /// Which services ask jitd.
    pub(super) gates: Vec<Gate>,
    /// Accounts with uid 0.
    pub(super) uid_zero: Vec<String>,
    /// Why something is missing here.
    pub(super) gap: Option<String>,
}

/// Who may run what by sudoers. Where sudo is gated, it takes an open window as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SudoRule {
    /// A user, `%group` or ALL.
    pub(crate) who: String,
    /// Who that is, where it is a group.
    pub(crate) members: Vec<String>,
    /// As whom.
    pub(crate) run_as: String,
    /// What.
    pub(crate) commands: Vec<String>,
    /// Whether sudo asks for a password.
    pub(crate) password: bool,
}

/// Whether a service's stack names the module in its account stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Gate {
    pub(super) service: String,
    pub(super) gated: bool,
}

/// Looks at this host.
pub(super) fn found() -> Standing {
    let gates = SERVICES.iter().filter_map(|service| {
        let stack =
            STACKS.iter().find_map(|folder| std::fs::read_to_string(format!("{folder}/{service}")).ok())?;
        Some(Gate { service: (*service).to_owned(), gated: is_gated(&stack) })
    });
    let accounts = said_by("/usr/bin/getent", &["passwd"]).unwrap_or_default();
    let mut standing =
        Standing { gates: gates.collect(), uid_zero: uid_zero(&accounts), ..Standing::default() };
    match sudo_rules() {
        Ok(rules) => standing.rules = Some(rules),
        Err(why) => standing.gap = Some(why),
    }
    standing
}

/// The rules of sudoers, by sudo's own reader.
///
/// # Errors
/// A sentence: this is not root, or they cannot be read.
pub(crate) fn sudo_rules() -> Result<Vec<SudoRule>, String> {
    if !rustix::process::geteuid().is_root() {
        let gap =
            "sudoers is readable for root only, and this was not called by root: who is in it is not known";
        return Err(gap.to_owned());
    }
    let sudoers = said_by(CVTSUDOERS, &["-f", "json", "/etc/sudoers"]).and_then(|said| {
        serde_json::from_str::<Value>(&said).map_err(|why| format!("{CVTSUDOERS} printed no JSON: {why}"))
    });
    let sudoers = sudoers.map_err(|why| format!("sudoers could not be read: {why}"))?;
    Ok(rules(&sudoers, members_of_group))
}

/// Who is in a group of this host.
pub(crate) fn members_of_group(group: &str) -> Vec<String> {
    let accounts = said_by("/usr/bin/getent", &["passwd"]).unwrap_or_default();
    let line = said_by("/usr/bin/getent", &["group", group]).unwrap_or_default();
    members_of(&line, &accounts)
}

/// What a program of the host prints. It gets nothing of our environment.
pub(crate) fn said_by(program: &str, words: &[&str]) -> Result<String, String> {
    let run = Command::new(program).args(words).env_clear().env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output = run.map_err(|why| format!("{program} cannot be run: {why}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} failed: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a rule of sudoers is for this person; none where that cannot be known: for anybody but root, where sudo takes
/// rules from elsewhere too (nsswitch.conf(5), sudoers), or where a rule names people by a way that is not followed here.
pub(crate) fn sudoers_names(user: &str) -> Option<bool> {
    let switch = std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let elsewhere = switch.lines().any(|line| {
        let sources = line.trim().strip_prefix("sudoers:");
        sources.is_some_and(|sources| sources.split_whitespace().any(|source| source != "files"))
    });
    if elsewhere {
        return None;
    }
    let rules = found().rules?;
    let groups = said_by("/usr/bin/id", &["-Gnz", "--", user]).ok()?;
    let uid = said_by("/usr/bin/id", &["-u", "--", user]).ok()?;
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

fn is_gated(stack: &str) -> bool {
    stack.lines().map(str::trim_start).any(|line| {
        let stage = line.trim_start_matches('-');
        stage.starts_with("account") && line.contains("pam_jit.so")
    })
}

fn uid_zero(accounts: &str) -> Vec<String> {
    let of = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == "0").then(|| name.to_owned())
    };
    accounts.lines().filter_map(of).collect()
}

/// Who is in a group: by its list, or because it is the account's own group.
fn members_of(group: &str, accounts: &str) -> Vec<String> {
    let mut fields = group.trim().split(':').skip(2);
    let (Some(number), list) = (fields.next(), fields.next().unwrap_or_default()) else { return Vec::new() };
    let by_list = list.split(',').filter(|name| !name.is_empty());
    let by_account = accounts.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(2)? == number).then_some(name)
    });
    let members: std::collections::BTreeSet<&str> = by_list.chain(by_account).collect();
    members.into_iter().map(str::to_owned).collect()
}

/// The rules in what `cvtsudoers -f json` prints; aliases of people are put in, other aliases are shown by name.
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

/// Whom an entry of a list of users names; an alias names several. Aliases name aliases, but not for ever.
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
        // An alias that names itself ends.
        let circle = json!({ "User_Aliases": { "A": [ { "useralias": "A" } ] },
            "User_Specs": [ { "User_List": [ { "useralias": "A" } ], "Cmnd_Specs": [ { "Commands": [] } ] } ] });
        assert_eq!(rules(&circle, |_| Vec::new()).len(), 1);
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

    #[test]
    fn a_stack_is_gated_by_its_account_stage() {
        assert!(is_gated("# x\naccount  [success=ok default=die]  pam_jit.so gate\n"));
        assert!(!is_gated("#account required pam_jit.so\nsession required pam_jit.so track\n"));
    }

    #[test]
    fn accounts_and_groups_are_read_as_getent_prints_them() {
        assert_eq!(
            uid_zero("root:x:0:0::/root:/bin/sh\nalice:x:1000:0:::\ntoor:x:0:0:::\n"),
            ["root", "toor"]
        );
        let accounts = "alice:x:1000:1000:::\ncarol:x:1003:27:::\n";
        assert_eq!(members_of("sudo:x:27:alice,bob\n", accounts), ["alice", "bob", "carol"]);
        assert!(members_of("", accounts).is_empty());
    }
}
