//! What is alerted to, and from when on.

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

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

rules! {
    /// A person was refused again and again, by the gate or in what they asked for.
    Denials = "denials";
    /// A window opened outside of hours.
    OutsideHours = "outside-hours";
    /// A person used a role for the first time on this host.
    FirstUse = "first-use";
    /// A person elevates far more often than they do.
    Spike = "spike";
    /// A window opened without a request that somebody else approved.
    Emergency = "emergency";
    /// The record lost its seal or has another one, is broken, ends too early, or was begun anew.
    Chain = "chain";
    /// The wall clock was set.
    Clock = "clock";
    /// Copies of the record do not leave.
    SinkDown = "sink-down";
    /// Privilege was left behind.
    LeftBehind = "left-behind";
    /// A place where privilege is kept changed while no grant had a session.
    HostChanged = "host-changed";
    /// A session could not be ended.
    SessionStuck = "session-stuck";
    /// Somebody acts through an account that is not the one that logged in, or nobody knows who logged in.
    LoginMismatch = "login-mismatch";
    /// A session had a group that its role does not give.
    Group = "group";
    /// PID 1's limit for a session was lifted, or our units were changed.
    ScopeTampered = "scope-tampered";
    /// A PAM stack does not ask any more.
    StackBroken = "stack-broken";
    /// Somebody causes more work than one user may; one alert for the host, whoever it is.
    LimitReached = "limit-reached";
}

/// `[alerts]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRules {
    /// Rules that are switched off.
    pub off: BTreeSet<Rule>,
    /// One rule raises one alert about one person in this time.
    pub repeat_after: Duration,
    /// Repeated refusals.
    pub denials: Denials,
    /// When windows are expected to open; always, if nothing is said.
    pub hours: Option<Hours>,
    /// More elevations than usual.
    pub spike: Spike,
}

impl Default for AlertRules {
    fn default() -> Self {
        Self::of(&DaemonOptions::default())
    }
}

impl AlertRules {
    /// The numbers and times as they are written; every rule is on, and no hours are set.
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

/// So many refusals of one person within a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denials {
    /// How many; at least 1.
    pub count: u32,
    /// Within which time.
    pub within: Duration,
}

/// More elevations within an hour than a multiple of the person's usual busiest hour, and than a number that is few for
/// anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spike {
    /// How many times as much as usual.
    pub factor: u32,
    /// So many are never a spike.
    pub at_least: u32,
}

/// When windows are expected to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// On these days, Monday being 0.
    pub days: BTreeSet<u8>,
    /// From this minute of the day on.
    pub from: u16,
    /// Before this minute of the day; 1440 is its end.
    pub to: u16,
    /// Whose days and hours these are, read when the settings were.
    pub zone: TimeZone,
}

impl Hours {
    /// Day and time in the zone, where these are no hours for a window to open.
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

/// The days as the settings name them.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn day(weekday: Weekday) -> u8 {
    u8::try_from(weekday.to_monday_zero_offset()).unwrap_or(0)
}
