//! Units of jitd that are masked, replaced, changed, switched off or down.

use jit_host::program::run;
use jit_host::unit_files::{Foreign, foreign};

use crate::doctor::finding::{Check, Look, quoted};
use crate::doctor::host::Host;

pub(super) const CHECK: Check =
    Check { name: "units", looks_at: "the units of jitd and their drop-ins", look };

const SYSTEMCTL: &str = "/usr/bin/systemctl";
/// A socket is not opened for a service that runs already.
const START: &str =
    "systemctl stop jitd.service && systemctl start jitd.socket jitd-operator.socket jitd.service";
const RUN: [&str; 3] = ["jitd.socket", "jitd-operator.socket", "jitd.service"];

fn look(host: &Host, look: &mut Look) {
    let masked = match foreign(host.root()) {
        Ok(found) => {
            found.iter().for_each(|file| judge(host, file, look));
            found.iter().any(|file| matches!(file, Foreign::Masked(_)))
        }
        Err((path, why)) => return look.unseen(host.named(&path), why),
    };
    // What is masked neither runs nor can be switched on before it is not.
    if masked {
        return;
    }
    for (verb, id) in [("is-enabled", "disabled"), ("is-active", "down")] {
        for unit in RUN {
            match run(SYSTEMCTL, &[verb, unit]) {
                Ok(ended) => state(unit, id, ended.output.trim(), look),
                Err(why) => look.unseen(format!("the state of {unit}"), why),
            }
        }
    }
}

fn judge(host: &Host, file: &Foreign, look: &mut Look) {
    match file {
        Foreign::Masked(path) => {
            let unit = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            look.open(
                format!("units/masked/{unit}"),
                format!("{unit} is masked by {}", host.named(path)),
                "PID 1 does not start it, so that nobody but root can elevate, or nobody watches sessions",
                format!("rm {} && systemctl daemon-reload && {START}", quoted(&host.named(path))),
            );
        }
        Foreign::InPlace(path) => {
            changed(&host.named(path), "stands in the place of the packaged unit", look)
        }
        Foreign::DropIn(path) => changed(&host.named(path), "changes units of jitd, or every scope", look),
    }
}

fn changed(path: &str, how: &str, look: &mut Look) {
    let restart = match path.contains("jitd") {
        true => format!(" && {START}"),
        false => String::new(),
    };
    look.open(
        format!("units/{path}"),
        format!("{path} {how}"),
        "it can lift the time limit of sessions, let them out of their cgroup, or run something else as root",
        format!("rm {} && systemctl daemon-reload{restart}", quoted(path)),
    );
}

fn state(unit: &str, id: &str, said: &str, look: &mut Look) {
    let (what, mend) = match (id, said) {
        (_, "enabled" | "active" | "activating" | "reloading" | "static" | "enabled-runtime") => return,
        ("down", said) => (format!("{unit} does not run: {said}"), START.to_owned()),
        (_, said) => {
            (format!("{unit} does not start with the host: {said}"), format!("systemctl enable {unit}"))
        }
    };
    look.open(
        format!("units/{id}/{unit}"),
        what,
        "while jitd is away nobody but root can elevate, and only PID 1 ends sessions",
        mend,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_are_off_or_down_are_told() {
        for (id, said, told) in [
            ("disabled", "enabled", false),
            ("disabled", "disabled", true),
            ("disabled", "", true),
            ("down", "active", false),
            ("down", "failed", true),
            ("down", "inactive", true),
        ] {
            let mut look = Look::default();
            state("jitd.service", id, said, &mut look);
            assert_eq!(look.findings.len(), usize::from(told), "{id} {said}");
        }
    }

    #[test]
    fn a_drop_in_is_told_with_its_path() {
        let host = Host::below(std::path::Path::new("/tmp/root"));
        let mut look = Look::default();
        judge(&host, &Foreign::DropIn("/tmp/root/etc/systemd/system/scope.d/x.conf".into()), &mut look);
        assert_eq!(look.findings[0].id, "units//etc/systemd/system/scope.d/x.conf");
        assert_eq!(look.findings[0].mend, "rm /etc/systemd/system/scope.d/x.conf && systemctl daemon-reload");
    }
}
