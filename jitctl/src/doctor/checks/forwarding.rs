//! Whether records leave jitd whole: a syslog daemon that runs, a journal that drops nothing.

use jit_host::program::{output_of, run};

use crate::doctor::finding::{Check, Look};
use crate::doctor::host::Host;

pub(super) const CHECK: Check =
    Check { name: "forwarding", looks_at: "the syslog daemon and the limits of the journal", look };

const DAEMONS: [&str; 3] = ["rsyslog.service", "syslog-ng.service", "syslog-ng@default.service"];
/// A window with many sessions writes so many records within half a minute (docs/costs.md).
const ENOUGH: f64 = 1000.0 / 30.0;
const CONF: &str = "/etc/systemd/journald.conf.d/zz-jitd.conf";

fn look(host: &Host, look: &mut Look) {
    match run("/usr/bin/systemctl", &[["is-active"].as_slice(), &DAEMONS].concat()) {
        Ok(ended) => daemons(&ended.output, host.has("/usr/sbin/syslog-ng"), look),
        Err(why) => look.unseen("whether a syslog daemon runs", why),
    }
    match output_of("/usr/bin/systemd-analyze", &["cat-config", "systemd/journald.conf"]) {
        Ok(conf) => limits(&conf, look),
        Err(why) => look.unseen("the limits of the journal", why),
    }
}

fn daemons(states: &str, syslog_ng: bool, look: &mut Look) {
    if states.lines().any(|state| matches!(state.trim(), "active" | "activating" | "reloading")) {
        return;
    }
    let unit = if syslog_ng { "syslog-ng.service" } else { "rsyslog.service" };
    look.open(
        "forwarding/syslog",
        "no syslog daemon runs",
        "no copy of the audit log leaves this host: whoever is root can remove the only one",
        format!("systemctl enable --now {unit}"),
    );
}

/// `RateLimitBurst=` within `RateLimitIntervalSec=` of the last file that sets them (journald.conf(5)); 0 switches the limit
/// off. Debian's own is 10,000 within 30 seconds.
fn limits(conf: &str, look: &mut Look) {
    let last = |key: &str| {
        let values =
            conf.lines().filter_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='));
        values.map(str::trim).rfind(|value| !value.is_empty())
    };
    let burst = last("RateLimitBurst").map_or(Some(10_000.0), |burst| burst.parse::<f64>().ok());
    let within = last("RateLimitIntervalSec").map_or(Some(30.0), seconds);
    let (Some(burst), Some(within)) = (burst, within) else {
        return look
            .unseen("the limits of the journal", "RateLimitBurst or RateLimitIntervalSec is not understood");
    };
    if burst > 0.0 && within > 0.0 && burst / within < ENOUGH {
        look.open(
            "forwarding/journal",
            format!("journald drops what a service writes above {burst} messages within {within} seconds"),
            "records of a busy window are missing in the journal, and in what reads it",
            format!(
                "mkdir -p /etc/systemd/journald.conf.d && printf '[Journal]\\nRateLimitIntervalSec=30s\\nRateLimitBurst=10000\\n' >{CONF} \
                 && systemctl restart systemd-journald.service"
            ),
        );
    }
}

/// A span as systemd.time(7) writes it, in seconds, as far as journald.conf has it.
fn seconds(span: &str) -> Option<f64> {
    let split = span.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(span.len());
    let (number, unit) = span.split_at(split);
    let number: f64 = number.trim().parse().ok()?;
    Some(
        number
            * match unit.trim() {
                "" | "s" | "sec" | "second" | "seconds" => 1.0,
                "ms" | "msec" => 0.001,
                "us" | "usec" => 0.000_001,
                "m" | "min" | "minute" | "minutes" => 60.0,
                "h" | "hr" | "hour" | "hours" => 3600.0,
                "d" | "day" | "days" => 86_400.0,
                _ => return None,
            },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_syslog_daemon_is_told() {
        for (states, told) in
            [("inactive\ninactive\ninactive\n", true), ("inactive\nactive\ninactive\n", false)]
        {
            let mut look = Look::default();
            daemons(states, false, &mut look);
            assert_eq!(look.findings.len(), usize::from(told), "{states}");
        }
    }

    #[test]
    fn a_journal_that_drops_is_told() {
        for (conf, told) in [
            ("[Journal]\n#RateLimitBurst=10\n", 0),
            ("RateLimitBurst=100\n", 1),
            ("RateLimitBurst = 100\n# b.conf\nRateLimitBurst=20000\n", 0),
            ("RateLimitBurst=100\nRateLimitIntervalSec=0\n", 0),
            ("RateLimitBurst=0\n", 0),
            ("RateLimitIntervalSec=1h\n", 1),
            ("RateLimitIntervalSec=500ms\n", 0),
        ] {
            let mut look = Look::default();
            limits(conf, &mut look);
            assert_eq!((look.findings.len(), look.unseen.len()), (told, 0), "{conf}");
        }
        let mut look = Look::default();
        limits("RateLimitIntervalSec=soon\n", &mut look);
        assert_eq!(look.unseen.len(), 1);
    }
}
