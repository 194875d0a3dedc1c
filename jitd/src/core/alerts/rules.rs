//! The rules that raise alerts, and their thresholds.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jit_proto::time::WallTime;

use crate::core::policy::DaemonOptions;

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// A rule. Its name is the `alert` of the record, and what the settings call it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[$doc])* $variant,)*
        }

        impl Rule {
            /// Every rule there is.
            pub const ALL: &'static [Rule] = &[$(Rule::$variant),*];

            /// Its name in records and settings.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

rules! {
    /// The gate or jitctl refused a person repeatedly.
    Denials = "denials";
    /// A window opened outside of the expected hours.
    OutsideHours = "outside-hours";
    /// A person used a role for the first time on this host.
    FirstUse = "first-use";
    /// A person elevated far more often than usual.
    Spike = "spike";
    /// A window opened without a request that somebody else approved.
    Emergency = "emergency";
    /// The audit log lost its seal or was sealed again, is broken, ends too early, or was replaced.
    Chain = "chain";
    /// The wall clock was set.
    Clock = "clock";
    /// A sink does not forward records.
    SinkDown = "sink-down";
    /// A session left changes that give privilege.
    LeftBehind = "left-behind";
    /// A watched path changed while no grant had a session open.
    HostChanged = "host-changed";
    /// A session could not be ended.
    SessionStuck = "session-stuck";
    /// An approver, operator or holder acts through an account that is not the one that logged in, or the login is
    /// unknown.
    LoginMismatch = "login-mismatch";
    /// A session had a group that its role does not give.
    Group = "group";
    /// The deadline that PID 1 enforces for a session was removed, or a unit of jitd's was changed.
    ScopeTampered = "scope-tampered";
    /// A PAM stack does not ask jitd any more.
    StackBroken = "stack-broken";
    /// jitd began to observe, and allows calls that it would deny.
    Observing = "observing";
    /// What jitctl doctor finds open changed, and something is open.
    DoctorChanged = "doctor-changed";
    /// A user causes more work than one user may; one alert for the host, whichever user it is.
    LimitReached = "limit-reached";
}

/// `[alerts]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRules {
    /// Rules that are switched off.
    pub off: BTreeSet<Rule>,
    /// The interval within which a rule raises one alert about a person.
    pub repeat_after: Duration,
    /// The threshold of rule `denials`.
    pub denials: Denials,
    /// When windows are expected to open; `None` is always.
    pub hours: Option<Hours>,
    /// The thresholds of rule `spike`.
    pub spike: Spike,
}

impl Default for AlertRules {
    fn default() -> Self {
        Self::of(&DaemonOptions::default())
    }
}

impl AlertRules {
    /// The thresholds from the settings; every rule is on, and no hours are set.
    #[must_use]
    pub fn of(options: &DaemonOptions) -> Self {
        Self {
            off: BTreeSet::new(),
            repeat_after: options.alerts_repeat_after,
            denials: Denials { count: options.denials_count, within: options.denials_within },
            hours: None,
            spike: Spike { factor: options.spike_factor, at_least: options.spike_at_least },
        }
    }

    /// Whether a rule is on.
    #[must_use]
    pub fn watches(&self, rule: Rule) -> bool {
        !self.off.contains(&rule)
    }
}

/// This many refusals of one person within this time raise an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denials {
    /// Number of refusals; at least 1.
    pub count: u32,
    /// The time.
    pub within: Duration,
}

/// The thresholds of rule `spike`: a multiple of the person's usual busiest hour, and a count that applies to
/// everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spike {
    /// The multiple of the usual busiest hour.
    pub factor: u32,
    /// The count up to which the rule does not match.
    pub at_least: u32,
}

/// When windows are expected to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Days, 0 to 6 from Monday.
    pub days: BTreeSet<u8>,
    /// First minute of the day, inclusive.
    pub from: u16,
    /// Last minute of the day, exclusive; 1440 is the end of the day.
    pub to: u16,
    /// The time zone, read when the settings were loaded.
    pub zone: TimeZone,
}

impl Hours {
    /// Day and time in the zone, if the time is outside of the hours.
    #[must_use]
    pub fn outside(&self, moment: WallTime) -> Option<String> {
        let moment = jiff::Timestamp::from_microsecond(i64::try_from(moment.0).ok()?).ok()?;
        let local = moment.to_zoned(self.zone.clone());
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).ok()?;
        let day = day(local.weekday());
        let inside = self.days.contains(&day) && (self.from..self.to).contains(&minute);
        (!inside).then(|| format!("{} {:02}:{:02}", DAYS[usize::from(day)], local.hour(), local.minute()))
    }
}

/// The names of the days in settings and records.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn day(weekday: Weekday) -> u8 {
    u8::try_from(weekday.to_monday_zero_offset()).unwrap_or(0)
}
