//! The ready-made roles, and the file that one of them becomes.

use std::fmt::Write as _;

use clap::ValueEnum;

/// A ready-made role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// Look after the web tier: root, for 30 minutes and 2 hours at most
    WebAdmin,
    /// Look after PostgreSQL: the account postgres and no other, for 1 hour and 4 hours at most
    Dba,
    /// On call: root, for 1 hour and 4 hours at most
    OnCall,
    /// Emergencies: root, for 15 minutes and 1 hour at most, also while no record leaves the host
    BreakGlass,
}

/// Who is named in a role's file: users, and groups with an @ before them (jit-roles(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct People(pub(super) Vec<String>);

impl Template {
    /// The name of the role.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WebAdmin => "web-admin",
            Self::Dba => "dba",
            Self::OnCall => "on-call",
            Self::BreakGlass => "break-glass",
        }
    }

    /// One line about it, for the list to choose from.
    pub(super) fn about(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// Whom it lets people become.
    pub(super) fn run_as(self) -> &'static str {
        match self {
            Self::Dba => "postgres",
            Self::WebAdmin | Self::OnCall | Self::BreakGlass => "root",
        }
    }

    /// The role's file.
    pub(super) fn file(
        self,
        requesters: &People,
        approvers: &People,
        run_as: &str,
        services: &[String],
    ) -> String {
        let (description, default, max, reason) = match self {
            Self::WebAdmin => ("Look after the web tier", "30m", "2h", 10),
            Self::Dba => ("Look after PostgreSQL", "1h", "4h", 10),
            Self::OnCall => ("On call", "1h", "4h", 10),
            Self::BreakGlass => ("Emergencies", "15m", "1h", 20),
        };
        let (name, services) = (self.name(), list(services));
        let mut file = format!(
            "# Written by jitctl setup. jit-roles(5) describes every key; after a change:\n\
             #     jitctl policy check && systemctl reload jitd\n\n\
             [role.{name}]\n\
             description      = {}\n\
             members          = {}     # who may request it; @ is a group\n\
             run_as           = {}     # root means anybody\n\
             services         = {services}\n\
             default_duration = {}\n\
             max_duration     = {}\n\
             reason           = {{ min_length = {reason} }}\n",
            quoted(description),
            list(&requesters.0),
            list(&[run_as.to_owned()]),
            quoted(default),
            quoted(max),
        );
        if self == Self::BreakGlass {
            file.push_str("without_forwarding = true      # works while no record leaves the host\n");
        }
        let _ = write!(
            file,
            "\n[role.{name}.approval]\n\
             from  = {}     # who may approve; nobody approves a request of their own\n\
             count = 1      # how many different people\n",
            list(&approvers.0)
        );
        file
    }
}

/// A TOML array of strings.
fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", names.join(", "))
}

/// A TOML basic string: JSON's escapes are among TOML's (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_writes_a_role_with_the_names_it_was_given() {
        for template in Template::value_variants() {
            let requesters = People(vec!["@webops".into(), r"CORP\alice".into()]);
            let approvers = People(vec!["bob".into()]);
            let file =
                template.file(&requesters, &approvers, template.run_as(), &["sudo".into(), "sudo-i".into()]);
            assert!(file.contains(&format!("[role.{}]", template.name())), "{file}");
            assert!(file.contains(r#"members          = ["@webops", "CORP\\alice"]"#), "{file}");
            assert!(file.contains(r#"from  = ["bob"]"#), "{file}");
            assert!(file.contains(r#"services         = ["sudo", "sudo-i"]"#), "{file}");
            assert_eq!(file.contains("without_forwarding"), *template == Template::BreakGlass);
            assert!(!template.about().is_empty());
        }
    }
}
