//! Loads a policy from files: owners, form, values, names.

mod source;

mod settings;

mod alerts;

mod notices;

mod roles;

mod values;

mod warnings;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use jit_proto::bus::view::{ProblemView, Severity};
use jit_proto::identity::RoleName;
use jit_proto::time::WallTime;
use sha2::{Digest, Sha256};

pub use warnings::warnings_outside;

use super::file::RolesFile;
use super::form;
use crate::core::policy::{Policy, Role, Settings, SinkSettings};
use crate::host::accounts::Directory;
use source::Source;

/// Reads the policy under `root` (`/etc/jitd`).
///
/// # Errors
/// All problems, in the order of the files. The policy is then not in force.
pub fn load(root: &Path, names: &dyn Directory, loaded_at: WallTime) -> Result<Policy, Vec<ProblemView>> {
    let (policy, mut problems) = check(root, names, loaded_at);
    problems.retain(|problem| problem.severity == Severity::Error);
    policy.ok_or(problems)
}

/// Reads the policy under `root`; returns its problems and warnings. There is a policy only without a problem.
#[must_use]
pub fn check(root: &Path, names: &dyn Directory, loaded_at: WallTime) -> (Option<Policy>, Vec<ProblemView>) {
    let mut loader = Loader::new(names);
    loader.check_folder(root);
    let settings_path = root.join("jitd.toml");
    let settings = match loader.read(&settings_path) {
        Some(source) => loader.settings(&source),
        None => Settings::default(),
    };
    let mut roles: BTreeMap<RoleName, Role> = BTreeMap::new();
    let mut places: BTreeMap<RoleName, String> = BTreeMap::new();
    let folder = root.join("roles.d");
    loader.check_folder(&folder);
    for path in loader.role_files(&folder) {
        let Some(source) = loader.read(&path) else { continue };
        let Some((file, mut values)) = loader.parse::<RolesFile>(&source, &form::ROLES) else { continue };
        for (name, table) in file.role {
            let values = values.remove(&name).unwrap_or_default();
            let Some(role) = loader.role(&source, &name, &table, values, &settings) else { continue };
            let key = format!("role.{}", role.name);
            if let Some(place) = places.get(&role.name) {
                loader.problem(&source, table.span(), &key, format!("this role is in {place} already"));
                continue;
            }
            places.insert(role.name.clone(), source.path.display().to_string());
            roles.insert(role.name.clone(), role);
        }
    }
    loader.warn_about_the_whole(root, &settings, &roles);
    let Loader { mut problems, hasher, .. } = loader;
    problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    let policy = (!problems.iter().any(is_error)).then(|| {
        let digest = hex::encode(hasher.finalize());
        Policy { digest, loaded_at, settings, roles }
    });
    (policy, problems)
}

fn is_error(problem: &ProblemView) -> bool {
    problem.severity == Severity::Error
}

/// The settings of sinks alone, for when the rest is not accepted. `None` if the settings have a problem too.
#[must_use]
pub fn sinks(root: &Path, names: &dyn Directory) -> Option<SinkSettings> {
    let mut loader = Loader::new(names);
    loader.check_folder(root);
    let settings = loader
        .read(&root.join("jitd.toml"))
        .map_or_else(Settings::default, |source| loader.settings(&source));
    (!loader.problems.iter().any(is_error)).then_some(settings.sinks)
}

struct Loader<'a> {
    names: &'a dyn Directory,
    problems: Vec<ProblemView>,
    hasher: Sha256,
}

impl<'a> Loader<'a> {
    fn new(names: &'a dyn Directory) -> Self {
        Self { names, problems: Vec::new(), hasher: Sha256::new() }
    }
}

impl Loader<'_> {
    fn problem(&mut self, source: &Source, span: Range<usize>, key: &str, message: String) {
        let line = source.line_of(&span);
        let file = source.path.display().to_string();
        self.problems.push(ProblemView {
            file,
            line,
            key: key.to_owned(),
            message,
            severity: Severity::Error,
        });
    }

    fn problem_of_file(&mut self, path: &Path, message: String) {
        let file = path.display().to_string();
        let severity = Severity::Error;
        self.problems.push(ProblemView { file, line: 0, key: String::new(), message, severity });
    }
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}
