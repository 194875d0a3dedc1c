//! The description of a host.

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian 12: sudo 1.9.13, systemd 252.
    Bookworm,
    /// Debian 13: sudo 1.9.16, sudo-rs, systemd 257.
    Trixie,
}

impl Release {
    /// Its code name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// The description of a host.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) release: Release,
    pub(crate) with_package: bool,
    pub(crate) gated: Vec<String>,
    pub(crate) module_options: String,
    pub(crate) hostname: Option<String>,
    pub(crate) disk: Option<(String, u32)>,
    pub(crate) more: Vec<String>,
    pub(crate) policy: Option<(String, Vec<(String, String)>)>,
}

impl Plan {
    /// A host with the package, and with `sudo` and `sudo-i` behind `pam_jit`.
    #[must_use]
    pub fn new(release: Release) -> Self {
        let gated = ["sudo", "sudo-i"].map(str::to_owned).to_vec();
        let (module_options, more) = (String::new(), Vec::new());
        Self {
            release,
            with_package: true,
            gated,
            module_options,
            hostname: None,
            disk: None,
            more,
            policy: None,
        }
    }

    /// Puts these PAM services behind `pam_jit`, and no others.
    #[must_use]
    pub fn gating(mut self, services: &[&str]) -> Self {
        self.gated = services.iter().map(|&service| service.to_owned()).collect();
        self
    }

    /// Uses these settings and roles in place of those of the stories.
    #[must_use]
    pub fn with_policy(mut self, settings: &str, roles: &[(&str, &str)]) -> Self {
        let roles = roles.iter().map(|&(file, text)| (file.to_owned(), text.to_owned())).collect();
        self.policy = Some((settings.to_owned(), roles));
        self
    }

    /// Adds these options to every line of `pam_jit`.
    #[must_use]
    pub fn with_module_options(mut self, options: &str) -> Self {
        options.clone_into(&mut self.module_options);
        self
    }

    /// Gives the host a readable name.
    #[must_use]
    pub fn named(mut self, hostname: &str) -> Self {
        self.hostname = Some(hostname.to_owned());
        self
    }

    /// Gives the host a disk of its own at this path, of so many megabytes.
    #[must_use]
    pub fn with_disk(mut self, path: &str, megabytes: u32) -> Self {
        self.disk = Some((path.to_owned(), megabytes));
        self
    }

    /// Installs more of Debian's packages; what conflicts with them is removed.
    #[must_use]
    pub fn with_debian(mut self, packages: &[&str]) -> Self {
        self.more.extend(packages.iter().map(|&package| package.to_owned()));
        self
    }

    /// Has these of Debian's packages, and what they depend on, in apt's cache: hosts have no network, and can install them
    /// all the same.
    #[must_use]
    pub fn with_downloads(mut self, packages: &[&str]) -> Self {
        self.more.extend(packages.iter().map(|package| format!("@{package}")));
        self
    }

    /// Omits the package, and leaves the PAM stacks as Debian ships them.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.with_package = false;
        self.gated.clear();
        self
    }
}
