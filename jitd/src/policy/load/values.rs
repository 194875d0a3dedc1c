//! Reads values of kinds that several keys have: durations, paths, people.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::time::parse_span;
use toml::Spanned;

use super::Loader;
use super::source::Source;
use crate::core::people::People;
use crate::host::accounts::IdentityError;

impl Loader<'_> {
    pub(super) fn span(
        &mut self,
        source: &Source,
        key: &str,
        written: Option<&Spanned<String>>,
        standard: Duration,
    ) -> Duration {
        let Some(written) = written else { return standard };
        parse_span(written.get_ref()).unwrap_or_else(|message| {
            self.problem(source, written.span(), key, message);
            standard
        })
    }

    pub(super) fn paths(
        &mut self,
        source: &Source,
        key: &str,
        written: Option<Vec<Spanned<String>>>,
        standard: Vec<PathBuf>,
    ) -> Vec<PathBuf> {
        let Some(written) = written else { return standard };
        for path in &written {
            let plain = Path::new(path.get_ref())
                .components()
                .all(|part| matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_)));
            if !plain || !path.get_ref().starts_with('/') {
                let message =
                    format!("{:?} is no path that begins at / and goes straight down", path.get_ref());
                self.problem(source, path.span(), key, message);
            }
        }
        written.into_iter().map(|path| PathBuf::from(path.into_inner())).collect()
    }

    pub(super) fn people(&mut self, source: &Source, key: &str, written: &[Spanned<String>]) -> People {
        let mut people = People::default();
        for entry in written {
            let name = entry.get_ref();
            let found = match name.strip_prefix('@') {
                Some(group) => {
                    self.names.group(group).map(|id| id.map(|id| people.groups.insert(id)).is_some())
                }
                None => {
                    let user = self.names.user(name);
                    user.map(|user| user.map(|user| people.users.insert(user.uid, user.name)).is_some())
                }
            };
            self.found(source, entry, key, found);
            people.written.push(name.clone());
        }
        people
    }

    pub(super) fn found(
        &mut self,
        source: &Source,
        entry: &Spanned<String>,
        key: &str,
        found: Result<bool, IdentityError>,
    ) {
        let name = entry.get_ref();
        let kind = if name.starts_with('@') { "group" } else { "user" };
        let bare = name.trim_start_matches('@');
        let message = match found {
            Ok(true) => return,
            Ok(false) => format!("there is no {kind} {bare:?} on this host"),
            Err(error) => format!("{kind} {bare:?} cannot be looked up: {error}"),
        };
        self.problem(source, entry.span(), key, message);
    }
}
