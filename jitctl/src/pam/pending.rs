//! A change that waits for its confirmation: what is to be undone, by which timer, until when.
//!
//! Whoever renames the file has the change: `confirm` makes it final, `undo` takes it. So the two need no lock against each
//! other, and neither is held up by a jitctl that was stopped in the middle.

use std::fs;
use std::io;

use jit_host::pam_edit::without_lines;
use jit_proto::bus::names::error;
use serde::{Deserialize, Serialize};

use super::files::{Folder, failed};
use crate::failure::{Exit, Failure};

/// A change that waits.
const WAITS: &str = "pending.json";
/// A change that is being undone.
const UNDOING: &str = "undoing.json";
/// A change that was confirmed, for the moment until its file is removed.
const CONFIRMED: &str = "confirmed.json";

/// A change that waits for its confirmation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The services whose stacks it replaces.
    pub(super) services: Vec<String>,
    /// When it is undone, in microseconds since the epoch.
    pub(super) undo_at: u64,
    /// The timer of PID 1 that undoes it, without `.timer`.
    pub(super) unit: String,
}

impl Pending {
    /// The one that waits, or is being undone.
    pub(super) fn read(folder: &Folder) -> Result<Option<Self>, Failure> {
        for name in [WAITS, UNDOING] {
            let path = folder.kept(name);
            match fs::read(&path) {
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                read => {
                    let bytes = read.map_err(|why| failed("cannot read", &path, &why))?;
                    return serde_json::from_slice(&bytes)
                        .map(Some)
                        .map_err(|why| failed("cannot read", &path, &io::Error::other(why)));
                }
            }
        }
        Ok(None)
    }

    /// Writes it down. From here on the timer, or the next start of the host, undoes it.
    pub(super) fn write(&self, folder: &Folder) -> Result<(), Failure> {
        let text = serde_json::to_vec(self).map_err(|why| Failure::strange_answer("this change", &why))?;
        folder.write(WAITS, &text)
    }

    /// Whether a stack of it is in force.
    pub(super) fn is_in_force(&self, folder: &Folder) -> bool {
        let in_force = |service: &String| {
            let before = fs::read_to_string(folder.backup(service));
            matches!((before, folder.read(service)), (Ok(before), Ok(now)) if before != now)
        };
        self.services.iter().any(in_force)
    }

    /// Makes it final; whether it was there to be confirmed.
    pub(super) fn confirm(folder: &Folder) -> Result<bool, Failure> {
        let taken = folder.rename(WAITS, CONFIRMED)?;
        folder.remove(CONFIRMED)?;
        Ok(taken)
    }
}

/// Undoes the change that waits, if there is one: puts the stacks back as they were. One that somebody else has changed
/// since keeps what they wrote, and loses the lines of jitd. Returns the services whose stacks it has put back; no change
/// is forgotten before each of its stacks is.
pub(super) fn undo(folder: &Folder) -> Result<Vec<String>, Failure> {
    folder.rename(WAITS, UNDOING)?;
    let Some(pending) = Pending::read(folder)? else { return Ok(Vec::new()) };
    let mut undone = Vec::new();
    let mut problem = None;
    for service in &pending.services {
        match undo_one(folder, service) {
            Ok(true) => undone.push(service.clone()),
            Ok(false) => {}
            Err(failure) => problem = Some(failure),
        }
    }
    if let Some(failure) = problem {
        return Err(failure);
    }
    folder.remove(UNDOING)?;
    Ok(undone)
}

/// Whether it has changed the stack.
fn undo_one(folder: &Folder, service: &str) -> Result<bool, Failure> {
    // First, so that a jitctl that was stopped before this step cannot put it in force afterwards.
    folder.take_back(service)?;
    let backup = folder.backup(service);
    let before = match fs::read_to_string(&backup) {
        // It was put back already.
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(false),
        read => read.map_err(|why| failed("cannot read", &backup, &why))?,
    };
    let now = match folder.read(service) {
        // Its package was removed: there is nothing to put back.
        Err(failure) if failure.exit == Exit::NoSuch => None,
        read => Some(read?),
    };
    match now {
        Some(now) if now == before => folder.remove_backup(service).map(|()| false),
        Some(now) if without_lines(&now) == without_lines(&before) => folder.put_back(service).map(|()| true),
        Some(now) => {
            let after = without_lines(&now);
            if after == now {
                return folder.remove_backup(service).map(|()| false);
            }
            // The backup stays as it is until then: an undo that is killed here is gone on with.
            folder.prepare_next(service, &after)?;
            folder.put_in_force(service, &now)?;
            folder.remove_backup(service).map(|()| true)
        }
        None => folder.remove_backup(service).map(|()| false),
    }
}

/// The failure of a verb that finds a change that waits.
pub(super) fn waits(pending: &Pending) -> Failure {
    let services = pending.services.join(", ");
    let message = format!(
        "a change of {services} waits for its confirmation; type: jitctl pam confirm, or to undo it: jitctl pam undo"
    );
    Failure::new(Exit::Failed, error::FAILED, &message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_host::pam_edit::{Lines, with_lines};

    const STOCK: &str = "#%PAM-1.0\n@include common-account\n@include common-session\n";

    struct Scene {
        at: tempfile::TempDir,
        folder: Folder,
    }

    /// Two stacks, and a change of both that was put in force so far.
    fn scene(in_force: usize) -> Scene {
        let at = tempfile::tempdir().unwrap();
        let folder = Folder::at(at.path());
        let services = ["sudo", "sudo-i"];
        let _lock = {
            services.iter().for_each(|service| fs::write(folder.stack(service), STOCK).unwrap());
            folder.lock().unwrap()
        };
        let after = with_lines(STOCK, Lines::Gate).unwrap();
        services.iter().for_each(|service| folder.prepare(service, STOCK, &after).unwrap());
        let pending =
            Pending { services: services.map(str::to_owned).to_vec(), undo_at: 1, unit: "x".into() };
        pending.write(&folder).unwrap();
        for service in services.iter().take(in_force) {
            folder.put_in_force(service, STOCK).unwrap();
        }
        assert_eq!(pending.is_in_force(&folder), in_force > 0);
        Scene { at, folder }
    }

    fn nothing_is_left(scene: &Scene) {
        scene.folder.tidy();
        for service in ["sudo", "sudo-i"] {
            assert_eq!(scene.folder.read(service).unwrap(), STOCK);
        }
        let left: Vec<_> =
            fs::read_dir(scene.at.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_change_is_undone_wherever_it_stopped() {
        for in_force in 0..=2 {
            let scene = scene(in_force);
            assert_eq!(undo(&scene.folder).unwrap().len(), in_force);
            nothing_is_left(&scene);
            assert!(undo(&scene.folder).unwrap().is_empty(), "and once more does nothing");
        }
    }

    #[test]
    fn an_undo_that_was_killed_in_the_middle_is_gone_on_with() {
        let scene = scene(2);
        assert!(scene.folder.rename(WAITS, UNDOING).unwrap());
        assert!(undo_one(&scene.folder, "sudo").unwrap());
        assert!(Pending::read(&scene.folder).unwrap().is_some());
        assert_eq!(undo(&scene.folder).unwrap(), ["sudo-i"]);
        nothing_is_left(&scene);
    }

    #[test]
    fn what_was_undone_cannot_be_put_in_force_afterwards() {
        let scene = scene(1);
        undo(&scene.folder).unwrap();
        assert!(scene.folder.put_in_force("sudo-i", STOCK).is_err());
        nothing_is_left(&scene);
    }

    #[test]
    fn a_confirmed_change_is_not_undone_and_one_that_was_undone_is_not_confirmed() {
        let confirmed = scene(2);
        assert!(Pending::confirm(&confirmed.folder).unwrap());
        assert!(undo(&confirmed.folder).unwrap().is_empty());
        assert!(confirmed.folder.read("sudo").unwrap().contains("pam_jit.so"));
        assert_eq!(fs::read_to_string(confirmed.folder.backup("sudo")).unwrap(), STOCK, "the backup stays");
        let undone = scene(2);
        undo(&undone.folder).unwrap();
        assert!(!Pending::confirm(&undone.folder).unwrap_or_default());
        assert_eq!(undone.folder.read("sudo").unwrap(), STOCK);
    }

    #[test]
    fn what_somebody_wrote_since_stays_and_our_lines_go() {
        let scene = scene(2);
        let gated = scene.folder.read("sudo").unwrap();
        fs::write(scene.folder.stack("sudo"), format!("{gated}# a note\n")).unwrap();
        fs::write(scene.folder.stack("sudo-i"), "# of a later package\n").unwrap();
        assert_eq!(undo(&scene.folder).unwrap(), ["sudo"]);
        assert_eq!(scene.folder.read("sudo").unwrap(), format!("{STOCK}# a note\n"));
        assert_eq!(scene.folder.read("sudo-i").unwrap(), "# of a later package\n");
        let gone = self::scene(2);
        fs::remove_file(gone.folder.stack("sudo")).unwrap();
        assert_eq!(undo(&gone.folder).unwrap(), ["sudo-i"]);
        assert!(!gone.folder.stack("sudo").exists());
    }
}
