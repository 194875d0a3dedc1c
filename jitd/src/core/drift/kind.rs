//! What a finding of the drift scan is about, the gravest first.

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $grave:literal, $noun:literal;)*) => {
        /// The kind of a finding. The order is the order in which findings are told; the name is the fact `finding` of a
        /// record (jit-audit(5)).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether it raises an alert when it is found while nobody had a session.
            #[must_use]
            pub fn is_grave(self) -> bool {
                match self { $(Self::$variant => $grave,)* }
            }

            /// What several findings of it are called.
            #[must_use]
            pub fn noun(self) -> &'static str {
                match self { $(Self::$variant => $noun,)* }
            }
        }
    };
}

kinds! {
    /// Set-uid and set-gid files, file capabilities, devices.
    SetUid = "set-uid", true, "files that give privilege";
    /// Accounts, groups, passwords, and where they are looked up.
    Accounts = "accounts", true, "files of accounts";
    /// Who may become whom: sudoers, doas, polkit, D-Bus policy.
    Sudoers = "sudoers", true, "rules for privilege";
    /// PAM stacks and modules.
    Pam = "pam", true, "PAM files";
    /// Keys and files that let somebody log in.
    Keys = "keys", true, "keys and login files";
    /// Who may write a place or a folder above it.
    Rights = "rights", true, "permissions";
    /// jitd itself.
    Gate = "gate", true, "files of jitd";
    /// Units, timers, drop-ins and generators of systemd.
    Units = "units", true, "units";
    /// What runs at set times: cron, at, anacron, logrotate.
    Schedules = "schedules", true, "scheduled jobs";
    /// What runs as root and began while a session was open, outside of it.
    Processes = "processes", true, "processes";
    /// What the dynamic linker loads into every program.
    Loader = "loader", true, "files of the dynamic linker";
    /// Programs and libraries that root runs.
    Programs = "programs", true, "programs";
    /// What shells, editors and other tools read when root starts them.
    Shells = "shells", true, "start-up files";
    /// The kernel, its modules and settings, and what the host boots with.
    Kernel = "kernel", true, "kernel and boot files";
    /// How records and names leave the host and come in: syslog, resolver, trusted certificates.
    WayOut = "way-out", true, "files of logging, names and trust";
    /// Package managers: sources, keys, hooks, scripts.
    Packages = "packages", true, "files of the package manager";
    /// The mount table.
    Mounts = "mounts", false, "mounts";
    /// Anything else.
    #[default]
    Other = "other", false, "files";
    /// A user's own files, which they may change without privilege.
    OwnFiles = "own-files", false, "files of users";
    /// A package manager's work whose contents fit the package's checksums.
    Shipped = "shipped", false, "files as shipped";
    /// What could not be looked at.
    Unseen = "unseen", false, "places that could not be looked at";
}

/// Whether a finding of that name raises an alert when nobody had a session. A name that is not known does.
#[must_use]
pub fn is_grave(name: &str) -> bool {
    Kind::ALL.iter().find(|kind| kind.name() == name).is_none_or(|kind| kind.is_grave())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_stored_under_its_name_and_the_worst_comes_first() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_string(kind).unwrap(), format!("{:?}", kind.name()));
            assert_eq!(is_grave(kind.name()), kind.is_grave());
        }
        assert!(Kind::SetUid < Kind::Accounts && Kind::Accounts < Kind::Sudoers && Kind::Sudoers < Kind::Pam);
        assert!(Kind::Pam < Kind::Keys && Kind::Keys < Kind::Units && Kind::Units < Kind::Shipped);
        assert!(is_grave("a kind of a later version"));
    }
}
