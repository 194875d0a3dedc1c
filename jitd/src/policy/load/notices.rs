//! Reads `[notify]`: receivers, kinds and programs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;
use toml::Spanned;

use super::Loader;
use super::source::Source;
use crate::core::notices::{Kind, Notices, PLACEHOLDERS, Program};
use crate::core::policy::DaemonOptions;
use crate::policy::file::NotifyTable;

const SENDMAIL: &str = "/usr/sbin/sendmail";

impl Loader<'_> {
    pub(super) fn notices(
        &mut self,
        source: &Source,
        table: NotifyTable,
        options: &DaemonOptions,
    ) -> Notices {
        let standard = Notices::of(options);
        let mail: Vec<String> =
            table.mail.iter().filter_map(|address| self.address(source, address)).collect();
        let exec = table.exec.as_ref().and_then(|path| self.program(source, "notify.exec", path));
        let sendmail = if mail.is_empty() {
            None
        } else {
            match &table.sendmail {
                Some(written) => self.program(source, "notify.sendmail", written),
                None => self.usual_sendmail(source, table.mail.first().map_or(0..0, Spanned::span)),
            }
        };
        table.exec.iter().for_each(|written| self.warn_about_the_webhook(source, written));
        if exec.is_some() || !mail.is_empty() {
            self.unprivileged(source, table.user.as_ref(), &standard.user);
        }
        Notices {
            exec,
            mail,
            sendmail,
            user: table.user.map_or(standard.user, Spanned::into_inner),
            about: table.about.map_or(standard.about, |about| self.about(source, &about)),
            timeout: standard.timeout,
        }
    }

    fn about(&mut self, source: &Source, written: &[Spanned<String>]) -> BTreeSet<Kind> {
        let mut kinds = BTreeSet::new();
        for name in written {
            match Kind::ALL.iter().find(|kind| kind.name() == name.get_ref()) {
                Some(kind) => drop(kinds.insert(*kind)),
                None => {
                    let names = Kind::ALL.map(Kind::name).join(", ");
                    let message = format!("{:?} is none of {names}", name.get_ref());
                    self.problem(source, name.span(), "notify.about", message);
                }
            }
        }
        kinds
    }

    fn unprivileged(&mut self, source: &Source, written: Option<&Spanned<String>>, standard: &str) {
        let usual = Spanned::new(0..0, standard.to_owned());
        let user = written.unwrap_or(&usual);
        let found = self.names.user(user.get_ref());
        if let Ok(Some(account)) = &found
            && account.uid.is_root()
        {
            let message = format!("{:?} has uid 0; notifications are sent without privilege", user.get_ref());
            self.problem(source, user.span(), "notify.user", message);
        }
        self.found(source, user, "notify.user", found.map(|account| account.is_some()));
    }

    /// Checks a mail address: it has no character that a mail program or a header could misinterpret.
    fn address(&mut self, source: &Source, written: &Spanned<String>) -> Option<String> {
        let address = written.get_ref();
        if PLACEHOLDERS.contains(&address.as_str()) {
            return Some(address.clone());
        }
        let (local, domain) = match address.split_once('@') {
            Some((local, domain)) => (local, Some(domain)),
            None => (address.as_str(), None),
        };
        let of = |text: &str, more: &[u8]| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            !text.is_empty() && text.bytes().all(fits) && !text.starts_with('-')
        };
        let good =
            address.len() <= 254 && of(local, b"._%+=-") && domain.is_none_or(|domain| of(domain, b".-"));
        if !good {
            let message = format!(
                "{address:?} is no mail address such as ops@example.org, nor {}",
                PLACEHOLDERS.join(" or ")
            );
            self.problem(source, written.span(), "notify.mail", message);
        }
        good.then(|| address.clone())
    }

    /// The host's own mail program, if the settings name none: its problems are reported at the addresses.
    fn usual_sendmail(&mut self, source: &Source, addresses: std::ops::Range<usize>) -> Option<Program> {
        match checked(Path::new(SENDMAIL)) {
            Ok(real) => Some(Program { named: PathBuf::from(SENDMAIL), real }),
            Err(error) => {
                let message = format!(
                    "no mail can be sent from this host: {error}; install a mail program or name one in notify.sendmail"
                );
                self.problem(source, addresses, "notify.mail", message);
                None
            }
        }
    }

    /// Checks that only root can change or replace a program.
    fn program(&mut self, source: &Source, key: &str, written: &Spanned<String>) -> Option<Program> {
        let named = PathBuf::from(written.get_ref());
        match checked(&named) {
            Ok(real) => Some(Program { named, real }),
            Err(error) => {
                self.problem(source, written.span(), key, error.to_string());
                None
            }
        }
    }
}

/// Why a program may not be run.
#[derive(Debug, Error)]
enum ProgramError {
    /// The path is relative, or has `.` or `..` in it.
    #[error("{} is no path that begins at / and goes straight down", .0.display())]
    Path(PathBuf),
    /// A file or folder on the way cannot be looked at.
    #[error("{}: {error}", path.display())]
    Look {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file or folder on the way belongs to another user.
    #[error("{} belongs to uid {uid}, not to root", path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// The owner.
        uid: u32,
    },
    /// Its group or others may write a file or folder on the way.
    #[error("others than root may write {} (mode {mode:04o})", path.display())]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a folder or something else that cannot be executed.
    #[error("{} is no program", .0.display())]
    NoProgram(PathBuf),
}

/// The resolved path, if only root can change what it leads to.
fn checked(named: &Path) -> Result<PathBuf, ProgramError> {
    let look = |path: &Path, error| ProgramError::Look { path: path.to_owned(), error };
    let straight = named.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !named.is_absolute() || !straight {
        return Err(ProgramError::Path(named.to_owned()));
    }
    let real = named.canonicalize().map_err(|error| look(named, error))?;
    for path in named.ancestors().chain(real.ancestors()) {
        let meta = fs::symlink_metadata(path).map_err(|error| look(path, error))?;
        if meta.uid() != 0 {
            return Err(ProgramError::Owner { path: path.to_owned(), uid: meta.uid() });
        }
        // A link cannot be changed, only replaced in its folder, which is checked as well.
        if !meta.is_symlink() && meta.mode() & 0o022 != 0 {
            return Err(ProgramError::Mode { path: path.to_owned(), mode: meta.mode() & 0o7777 });
        }
    }
    let meta = fs::metadata(&real).map_err(|error| look(&real, error))?;
    if !meta.is_file() || meta.mode() & 0o111 == 0 {
        return Err(ProgramError::NoProgram(real));
    }
    Ok(real)
}
