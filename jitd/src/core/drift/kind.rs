//! The kinds of findings of the drift scan, the most severe first.

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $grave:literal, $noun:literal;)*) => {
        /// The kind of a finding. The order is the order in which findings are reported; the name is the fact `finding`
        /// of a record (jit-audit(5)).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether a finding of this kind raises an alert when nobody had a session.
            #[must_use]
            pub fn is_grave(self) -> bool {
                match self { $(Self::$variant => $grave,)* }
            }

            /// The plural that several findings are summarised by.
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
    /// Accounts, groups, passwords, and the sources of NSS.
    Accounts = "accounts", true, "files of accounts";
    /// Rules for privilege: sudoers, doas, polkit, D-Bus policy.
    Sudoers = "sudoers", true, "rules for privilege";
    /// PAM stacks and modules.
    Pam = "pam", true, "PAM files";
    /// Keys and files that let a person log in.
    Keys = "keys", true, "keys and login files";
    /// Who may write a watched path or a folder above it.
    Rights = "rights", true, "permissions";
    /// jitd itself.
    Gate = "gate", true, "files of jitd";
    /// Units, timers, drop-ins and generators of systemd.
    Units = "units", true, "units";
    /// Jobs that run at set times: cron, at, anacron, logrotate.
    Schedules = "schedules", true, "scheduled jobs";
    /// Processes of root that started while a session was open, outside of the session.
    Processes = "processes", true, "processes";
    /// Libraries that the dynamic linker loads into every program.
    Loader = "loader", true, "files of the dynamic linker";
    /// Programs and libraries that root runs.
    Programs = "programs", true, "programs";
    /// Files that shells, editors and other tools read when root starts them.
    Shells = "shells", true, "start-up files";
    /// The kernel, its modules and settings, and the boot files.
    Kernel = "kernel", true, "kernel and boot files";
    /// How records leave the host and names enter it: syslog, resolver, trusted certificates.
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
    /// Files of a package whose contents match the package's checksums.
    Shipped = "shipped", false, "files as shipped";
    /// Paths that could not be scanned.
    Unseen = "unseen", false, "places that could not be looked at";
}

/// Whether a finding of this name raises an alert when nobody had a session. An unknown name does.
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
