//! The file systems below every host: a Debian tree, further packages, and the people of the stories, made once.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::plan::Release;
use crate::{output, paths};

const SCRIPT: &str = include_str!("../host/prepare.sh");
/// Fetching and unpacking two releases over a slow line.
const TREES_LIMIT: Duration = Duration::from_secs(1200);
const STAGE_LIMIT: Duration = Duration::from_secs(120);

/// The layers of a host, the upper one first, as overlay's `lowerdir` wants them.
#[derive(Debug)]
pub(crate) struct Layers(Vec<PathBuf>);

impl Layers {
    /// The layers of a release with more packages, made if they are not there.
    pub(crate) fn of(release: Release, more: &[String], with_package: bool) -> Result<Self> {
        let _lock = lock("stage")?;
        let mut lower = vec![tree(release)?];
        let mut base = release.name().to_owned();
        if !more.is_empty() {
            base = format!("{base}+{}", more.join("+"));
            lower.insert(0, with_more(&lower[0], &base, more)?);
        }
        let package = if with_package { Some(paths::package()?) } else { None };
        let mut hasher = DefaultHasher::new();
        SCRIPT.hash(&mut hasher);
        fs::read_to_string(lower[0].join(".jit-tree")).unwrap_or_default().hash(&mut hasher);
        if let Some(package) = &package {
            fs::read(package)?.hash(&mut hasher);
        }
        let kind = if with_package { "with" } else { "bare" };
        let prefix = format!("stage-{base}-{kind}-");
        let name = format!("{prefix}{:016x}", hasher.finish());
        let stage = paths::trees().join(&name);
        if !stage.is_dir() {
            make(&lower, package.as_deref(), &stage)?;
            forget_others(&prefix, &name);
        }
        lower.insert(0, stage);
        Ok(Self(lower))
    }

    /// Mounts the layers under an empty one in `folder`; the tree is then in `folder/tree`.
    pub(crate) fn mount(&self, folder: &Path) -> Result<PathBuf> {
        mount(&self.0, folder)
    }
}

/// Unmounts what [`Layers::mount`] mounted, and removes the folder.
pub(crate) fn unmount(folder: &Path) -> Result<()> {
    let tree = folder.join("tree");
    if is_mounted(&tree)? {
        output::run(Command::new("umount").arg("--lazy").arg(&tree), b"", STAGE_LIMIT)?.ok()?;
    }
    if is_mounted(&tree)? {
        bail!("{} is still mounted", tree.display());
    }
    match fs::remove_dir_all(folder) {
        // The host's watchdog was faster.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("cannot remove {}", folder.display())),
    }
}

/// A lock between the processes of several runs; held until it is dropped.
pub(crate) fn lock(name: &str) -> Result<fs::File> {
    fs::create_dir_all(paths::runs())?;
    let path = paths::runs().join(format!("{name}.lock"));
    let file = fs::File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    file.lock()?;
    Ok(file)
}

fn tree(release: Release) -> Result<PathBuf> {
    static LOOKED_AFTER: Once = Once::new();
    let mut made = Ok(());
    LOOKED_AFTER.call_once(|| {
        let mut script = Command::new(paths::repository().join("tests/hosts.sh"));
        made = output::run(script.arg(paths::trees()), b"", TREES_LIMIT).and_then(|done| done.ok().map(drop));
    });
    made?;
    let tree = paths::trees().join(release.name());
    if !tree.is_dir() {
        bail!("{} is missing, and tests/hosts.sh did not make it", tree.display());
    }
    Ok(tree)
}

/// A layer with more packages over a tree.
fn with_more(tree: &Path, name: &str, packages: &[String]) -> Result<PathBuf> {
    let layer = paths::trees().join(name);
    let mut script = Command::new(paths::repository().join("tests/more.sh"));
    output::run(script.arg(tree).arg(&layer).args(packages), b"", TREES_LIMIT)?.ok()?;
    Ok(layer)
}

fn make(lower: &[PathBuf], package: Option<&Path>, stage: &Path) -> Result<()> {
    let folder = stage.with_extension("tmp");
    if folder.exists() {
        unmount(&folder)?;
    }
    let root = mount(lower, &folder)?;
    let extra = root.join("stage");
    fs::create_dir(&extra)?;
    fs::write(extra.join("prepare.sh"), SCRIPT)?;
    if let Some(package) = package {
        fs::copy(package, extra.join("jitd.deb"))?;
    }
    let mut command = Command::new("systemd-nspawn");
    command.args(["--quiet", "--pipe", "--register=no", "--keep-unit", "--private-network", "--as-pid2"]);
    command.arg("--directory").arg(&root).args(["/bin/sh", "/stage/prepare.sh"]);
    let done = output::run(&mut command, b"", STAGE_LIMIT);
    fs::remove_dir_all(&extra)?;
    done.context("preparing a host")?.ok().context("preparing a host")?;
    output::run(Command::new("umount").arg(&root), b"", STAGE_LIMIT)?.ok()?;
    fs::rename(folder.join("upper"), stage)?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// Removes the layers of earlier builds; one that a running host still uses stays usable to it.
fn forget_others(prefix: &str, name: &str) {
    for entry in fs::read_dir(paths::trees()).into_iter().flatten().flatten() {
        let other = entry.file_name().to_string_lossy().into_owned();
        if other.starts_with(prefix) && other != name && !is_in_use(&other) {
            // It only costs space.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_in_use(layer: &str) -> bool {
    fs::read_to_string("/proc/self/mounts").is_ok_and(|mounts| mounts.contains(layer))
}

fn mount(lower: &[PathBuf], folder: &Path) -> Result<PathBuf> {
    let [upper, work, tree] = ["upper", "work", "tree"].map(|name| folder.join(name));
    for path in [&upper, &work, &tree] {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    let lower: Vec<String> = lower.iter().map(|path| path.display().to_string()).collect();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
    let mut command = Command::new("mount");
    command.args(["-t", "overlay", "overlay", "-o", &options]).arg(&tree);
    output::run(&mut command, b"", STAGE_LIMIT)?.ok()?;
    Ok(tree)
}

fn is_mounted(path: &Path) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let path = path.display().to_string();
    Ok(mounts.lines().any(|line| line.split(' ').nth(1) == Some(path.as_str())))
}
