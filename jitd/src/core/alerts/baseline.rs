//! A person's usual behaviour: the roles they have used, and their busiest hours.

use std::collections::{BTreeSet, VecDeque};

use jit_proto::time::WallTime;
use serde::{Deserialize, Serialize};

/// Days that are remembered.
const MAX_DAYS: usize = 30;
/// Below this number of days there is no usual behaviour yet.
const MIN_DAYS: usize = 5;
const DAY_MICROS: u64 = 24 * 3600 * 1_000_000;

/// A person's usual behaviour. It is stored in the transaction of the record that changed it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The login name. A new account with a reused uid starts with an empty baseline.
    pub name: String,
    /// The roles they have used.
    pub roles: BTreeSet<String>,
    /// Days since 1970-01-01 on which they elevated, in UTC, each with the most elevations within an hour of it.
    pub days: VecDeque<(u64, u32)>,
}

impl Baseline {
    /// Adds a role; returns it if this is its first use.
    pub(super) fn new_role<'a>(&mut self, name: &str, role: Option<&'a str>) -> Option<&'a str> {
        if self.name != name {
            *self = Self { name: name.to_owned(), ..Self::default() };
        }
        role.filter(|role| self.roles.insert((*role).to_owned()))
    }

    /// Adds an elevation, the nth within the last hour; returns whether the baseline has to be written. It is written
    /// when a day's busiest hour has doubled, so that few elevations cost a second write, and a killed jitd loses no
    /// more than half of the count.
    pub(super) fn elevated(&mut self, at: WallTime, within_an_hour: u32) -> bool {
        let today = at.0 / DAY_MICROS;
        match self.days.back_mut() {
            // The days stay in order when the clock was set back.
            Some((day, busiest)) if *day >= today => {
                let more = within_an_hour > *busiest;
                *busiest = within_an_hour.max(*busiest);
                more && within_an_hour.is_power_of_two()
            }
            _ => {
                self.days.push_back((today, within_an_hour));
                if self.days.len() > MAX_DAYS {
                    self.days.pop_front();
                }
                true
            }
        }
    }

    /// Elevations in the busiest hour of an ordinary day: the median over the days before today on which there were
    /// any, so that one unusual day does not become the rule. `None` while there are too few days.
    #[must_use]
    pub(super) fn usual_busiest_hour(&self, now: WallTime) -> Option<u32> {
        let today = now.0 / DAY_MICROS;
        let before = self.days.iter().filter(|(day, _)| *day < today);
        let mut busiest: Vec<u32> = before.map(|(_, busiest)| *busiest).collect();
        busiest.sort_unstable();
        (busiest.len() >= MIN_DAYS).then(|| busiest[busiest.len() / 2])
    }
}
