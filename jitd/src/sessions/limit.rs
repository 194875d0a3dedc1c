//! Compares PID 1's properties of a session's scope with the requested ones.
//!
//! Root can lift the deadline without touching jitd: `AbandonScope`, a drop-in for scopes, an edited transient file and
//! a daemon-reload. jitd cannot prevent that; it finds, reports and undoes it with a new scope.

use std::time::Duration;

use jit_proto::time::{format_duration, micros};

/// The time from PID 1's own SIGTERM to its SIGKILL, when it ends a scope itself: the grace has passed by then.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(1);
/// PID 1 stores times in milliseconds and reads them back after a reload; a smaller difference is none.
const TOLERANCE: u64 = 1_000_000;
/// SIGTERM and SIGKILL (signal(7)): the scope's KillSignal and FinalKillSignal.
const SIGNALS: (i32, i32) = (15, 9);

/// PID 1's properties of a scope (org.freedesktop.systemd1(5)); times in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) active_state: String,
    pub(super) sub_state: String,
    pub(super) fragment_path: String,
    pub(super) drop_in_paths: Vec<String>,
    pub(super) need_daemon_reload: bool,
    /// On `CLOCK_MONOTONIC`.
    pub(super) active_enter: u64,
    pub(super) control_group: String,
    pub(super) runtime_max: u64,
    pub(super) runtime_extra: u64,
    pub(super) timeout_stop: u64,
    pub(super) kill_mode: String,
    pub(super) kill_signal: i32,
    pub(super) final_kill_signal: i32,
    pub(super) send_sigkill: bool,
}

/// The requested properties.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) scope: &'a str,
    /// The deadline that it was made with; `None` for a scope found after a restart.
    pub(super) runtime_max: Option<u64>,
    /// The remaining time of the session, in microseconds.
    pub(super) left: u64,
    /// The present time on `CLOCK_MONOTONIC`.
    pub(super) now: u64,
    /// The time that the host was suspended: not on `CLOCK_MONOTONIC`.
    pub(super) slept: u64,
}

/// The differences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Deviations {
    /// Differences with which PID 1 may not end the session in time.
    pub(super) lifted: Vec<String>,
    /// Differences that leave the deadline in force.
    pub(super) touched: Vec<String>,
}

impl Deviations {
    pub(super) fn is_none(&self) -> bool {
        self.lifted.is_empty() && self.touched.is_empty()
    }

    pub(super) fn text(&self) -> String {
        let all: Vec<&str> = self.lifted.iter().chain(&self.touched).map(String::as_str).collect();
        all.join(", ")
    }
}

/// Compares the properties. A scope that PID 1 is stopping may be in that state; every other property has to be right,
/// or the stop may never finish: with a stop timeout that was lifted after the stop began, processes that ignore
/// SIGTERM would stay for ever.
pub(super) fn compare(held: &Held, wanted: &Wanted<'_>) -> Deviations {
    let mut found = Deviations::default();
    let mut lifted = |wrong: bool, what: String| {
        if wrong {
            found.lifted.push(what);
        }
    };
    let state = (held.active_state.as_str(), held.sub_state.as_str());
    let is_ending = matches!(state, ("deactivating", "stop-sigterm" | "stop-sigkill"));
    lifted(state != ("active", "running") && !is_ending, format!("it is {} ({})", state.0, state.1));
    // After a restart the deadline follows from the end of the window alone, and not exactly where the host was
    // suspended.
    let (max, min) = match wanted.runtime_max {
        Some(limit) => (limit.saturating_add(TOLERANCE), limit.saturating_sub(TOLERANCE)),
        None => {
            let since = wanted.now.saturating_sub(held.active_enter);
            (wanted.left.saturating_add(since).saturating_add(2 * TOLERANCE).saturating_add(wanted.slept), 0)
        }
    };
    lifted(
        held.runtime_max > max || held.runtime_max < min,
        format!("RuntimeMaxUSec is {}, not {}", time(held.runtime_max), time(max.saturating_sub(TOLERANCE))),
    );
    lifted(held.runtime_extra != 0, format!("RuntimeRandomizedExtraUSec is {}", time(held.runtime_extra)));
    lifted(
        held.timeout_stop > micros(STOP_LIMIT).saturating_add(TOLERANCE),
        format!("TimeoutStopUSec is {}", time(held.timeout_stop)),
    );
    lifted(held.kill_mode != "control-group", format!("KillMode is {}", held.kill_mode));
    lifted(
        (held.kill_signal, held.final_kill_signal) != SIGNALS,
        format!("its signals are {} and {}", held.kill_signal, held.final_kill_signal),
    );
    lifted(!held.send_sigkill, "SendSIGKILL is no".to_owned());
    lifted(
        held.control_group != format!("/{}/{}", jit_proto::bus::names::SLICE, wanted.scope),
        format!("its control group is {:?}", held.control_group),
    );
    let fragment = format!("/run/systemd/transient/{}", wanted.scope);
    lifted(held.fragment_path != fragment, format!("FragmentPath is {:?}", held.fragment_path));
    if held.need_daemon_reload {
        found.touched.push("its files were changed since PID 1 read them".to_owned());
    }
    found.touched.extend(held.drop_in_paths.iter().map(|path| format!("drop-in {path}")));
    found
}

fn time(span: u64) -> String {
    if span == u64::MAX { "infinity".to_owned() } else { format_duration(Duration::from_micros(span)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCOPE: &str = "jit-5.scope";

    fn as_made() -> (Held, Wanted<'static>) {
        let held = Held {
            active_state: "active".into(),
            sub_state: "running".into(),
            fragment_path: "/run/systemd/transient/jit-5.scope".into(),
            active_enter: 50_000_000,
            control_group: "/jit.slice/jit-5.scope".into(),
            runtime_max: 12_000_000,
            timeout_stop: 1_000_000,
            kill_mode: "control-group".into(),
            kill_signal: 15,
            final_kill_signal: 9,
            send_sigkill: true,
            ..Held::default()
        };
        let wanted = Wanted {
            scope: SCOPE,
            runtime_max: Some(12_000_000),
            left: 10_000_000,
            now: 52_000_000,
            slept: 0,
        };
        (held, wanted)
    }

    #[test]
    fn what_was_asked_for_is_no_deviation() {
        let (held, wanted) = as_made();
        assert!(compare(&held, &wanted).is_none());
        assert!(compare(&held, &Wanted { runtime_max: None, ..wanted }).is_none());
        let ending = Held { active_state: "deactivating".into(), sub_state: "stop-sigterm".into(), ..held };
        assert!(compare(&ending, &wanted).is_none());
    }

    /// A change of PID 1's properties.
    type Lift = fn(&mut Held);

    #[test]
    fn whatever_lifts_the_limit_is_found() {
        let (held, wanted) = as_made();
        let lifts: [(&str, Lift); 10] = [
            ("abandoned", |held| held.sub_state = "abandoned".into()),
            ("infinity", |held| held.runtime_max = u64::MAX),
            ("RuntimeMaxUSec", |held| held.runtime_max = 3_600_000_000),
            ("RuntimeRandomizedExtraUSec", |held| held.runtime_extra = 1),
            ("TimeoutStopUSec", |held| held.timeout_stop = u64::MAX),
            ("KillMode", |held| held.kill_mode = "none".into()),
            ("signals", |held| held.final_kill_signal = 0),
            ("SendSIGKILL", |held| held.send_sigkill = false),
            ("control group", |held| held.control_group = "/".into()),
            ("FragmentPath", |held| held.fragment_path = String::new()),
        ];
        for (word, lift) in lifts {
            let ending = Held {
                active_state: "deactivating".into(),
                sub_state: "stop-sigterm".into(),
                ..held.clone()
            };
            for runtime_max in [wanted.runtime_max, None] {
                for held in [&held, &ending] {
                    let mut held = held.clone();
                    lift(&mut held);
                    let found = compare(&held, &Wanted { runtime_max, ..wanted });
                    assert!(found.lifted.iter().any(|line| line.contains(word)), "{word}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn what_touches_a_scope_is_named() {
        let (mut held, wanted) = as_made();
        held.drop_in_paths = vec!["/etc/systemd/system/scope.d/x.conf".into()];
        held.need_daemon_reload = true;
        let found = compare(&held, &wanted);
        assert!(found.lifted.is_empty() && found.touched.len() == 2, "{found:?}");
        assert!(found.text().contains("/etc/systemd/system/scope.d/x.conf"), "{}", found.text());
    }

    proptest! {
        /// A deadline found after a restart is accepted only if PID 1 ends the session no later than it has to.
        #[test]
        fn no_found_limit_ends_late(enter in 0u64..1 << 40, runtime in 0u64..1 << 41, left in 0u64..1 << 40, since in 0u64..1 << 40) {
            let (held, wanted) = as_made();
            let now = enter + since;
            let held = Held { active_enter: enter, runtime_max: runtime, ..held };
            let found = compare(&held, &Wanted { runtime_max: None, left, now, ..wanted });
            let late = (enter + runtime).saturating_sub(now + left);
            prop_assert_eq!(found.lifted.is_empty(), late <= 2 * TOLERANCE);
        }
    }
}
