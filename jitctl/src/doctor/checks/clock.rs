//! Whether something keeps the clock right.

use jit_host::program::{output_of, run};

use crate::doctor::finding::{Check, Look};
use crate::doctor::host::Host;

pub(super) const CHECK: Check = Check { name: "clock", looks_at: "what keeps the clock right", look };

const DAEMONS: [&str; 7] = [
    "systemd-timesyncd.service",
    "chrony.service",
    "chronyd.service",
    "ntpsec.service",
    "ntp.service",
    "ntpd.service",
    "openntpd.service",
];

fn look(host: &Host, look: &mut Look) {
    // A container has the clock of the machine below it (systemd-detect-virt(1)).
    match run("/usr/bin/systemd-detect-virt", &["--container"]) {
        Ok(ended) if ended.status == Some(0) => {
            look.notes.push(format!(
                "this is a container ({}): its clock is kept right outside of it",
                ended.output.trim()
            ));
            return;
        }
        Ok(_) => {}
        Err(why) => return look.unseen("whether this is a container", why),
    }
    match run("/usr/bin/systemctl", &[["is-active"].as_slice(), &DAEMONS].concat()) {
        Ok(ended) if ended.output.lines().any(|state| state.trim() == "active") => {}
        Ok(_) => {
            let synchronized =
                output_of("/usr/bin/timedatectl", &["show", "--property=NTPSynchronized", "--value"]);
            judge(
                synchronized.as_deref().map(str::trim),
                host.has("/usr/lib/systemd/systemd-timesyncd"),
                look,
            );
        }
        Err(why) => look.unseen("what keeps the clock right", why),
    }
}

fn judge(synchronized: Result<&str, &String>, timesyncd: bool, look: &mut Look) {
    match synchronized {
        // By something that is not in our list.
        Ok("yes") => {}
        Ok(_) => look.open(
            "clock/ntp",
            "nothing keeps the clock right",
            "the times of records and the ends of windows drift, and a collector cannot put hosts in order",
            match timesyncd {
                true => "timedatectl set-ntp true",
                false => "apt-get install -y systemd-timesyncd",
            },
        ),
        Err(why) => look.unseen("whether the clock is synchronized", why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nothing_keeps_is_told() {
        let gone = "timedatectl cannot be run".to_owned();
        for (said, open, unseen) in [(Ok("yes"), 0, 0), (Ok("no"), 1, 0), (Err(&gone), 0, 1)] {
            let mut look = Look::default();
            judge(said, true, &mut look);
            assert_eq!((look.findings.len(), look.unseen.len()), (open, unseen), "{said:?}");
        }
    }
}
