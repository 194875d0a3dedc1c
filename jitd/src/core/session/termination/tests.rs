//! The state machine against a process tree that resists.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A process of the fake world.
#[derive(Debug, Clone)]
struct Fake {
    is_sudo: bool,
    stopped: bool,
    /// Ends on SIGTERM.
    polite: bool,
    /// Left the cgroup.
    outside: bool,
    /// Survives this many SIGKILLs (uninterruptible sleep).
    stuck: u32,
    /// Forks this many more whenever it is running.
    forks: u32,
}

#[derive(Debug, Default)]
struct World {
    living: BTreeMap<u32, Fake>,
    next: u32,
    frozen: bool,
    /// Freezing, listing or sweeping fails.
    broken: bool,
    sudo_killed_while_others_lived: bool,
    killed_all: bool,
}

impl World {
    fn found(&self, outside: bool) -> Vec<ListedProcess> {
        let there = self.living.iter().filter(|(_, fake)| fake.outside == outside);
        there.map(|(pid, fake)| self.one(*pid, fake)).collect()
    }

    fn one(&self, pid: u32, fake: &Fake) -> ListedProcess {
        ListedProcess {
            process: MainProcess { pid, start: u64::from(pid) },
            exe: Some(if fake.is_sudo { "/usr/bin/sudo" } else { "/usr/bin/bash" }.to_owned()),
            stopped: fake.stopped,
            line: format!("{pid}"),
        }
    }

    fn inside(&self) -> usize {
        self.living.values().filter(|fake| !fake.outside).count()
    }

    fn kill(&mut self, pid: u32) {
        let others = self.living.values().any(|fake| !fake.is_sudo && !fake.outside && fake.stuck == 0);
        let Some(fake) = self.living.get_mut(&pid) else { return };
        if fake.is_sudo && !fake.stopped && others && !self.killed_all {
            self.sudo_killed_while_others_lived = true;
        }
        if fake.stuck > 0 {
            fake.stuck -= 1;
        } else {
            self.living.remove(&pid);
        }
    }

    fn run(&mut self) {
        if self.frozen {
            return;
        }
        let forks: Vec<Fake> = self
            .living
            .values_mut()
            .filter(|fake| fake.forks > 0 && !fake.stopped)
            .map(|fake| {
                fake.forks -= 1;
                Fake { forks: fake.forks, ..fake.clone() }
            })
            .collect();
        for fake in forks {
            self.next += 1;
            self.living.insert(self.next, fake);
        }
        // A sudo whose command is gone ends too.
        if self.living.values().all(|fake| fake.is_sudo || fake.outside) {
            self.living.retain(|_, fake| !fake.is_sudo || fake.stopped || fake.outside);
        }
    }

    fn perform(&mut self, act: &Act) -> Seen {
        self.run();
        match act {
            Act::Freeze => {
                self.frozen = !self.broken;
                Seen::Done
            }
            Act::List if self.broken => Seen::Unknown,
            Act::List => Seen::Listed(self.found(false)),
            Act::Signal(signals) => {
                // All others first: the list has no defined order.
                let mut signals = signals.clone();
                signals.sort_by_key(|(process, _)| self.living.get(&process.pid).is_some_and(|f| f.is_sudo));
                for (process, sent) in signals {
                    match sent {
                        Sent::Kill => self.kill(process.pid),
                        Sent::Terminate => {
                            if let Some(fake) = self.living.get_mut(&process.pid) {
                                fake.stopped = false;
                                if fake.polite {
                                    self.living.remove(&process.pid);
                                }
                            }
                        }
                    }
                }
                Seen::Done
            }
            Act::Thaw => {
                self.frozen = false;
                self.run();
                Seen::Done
            }
            Act::AwaitEmpty(_) => Seen::Empty(self.inside() == 0),
            Act::KillAll => {
                self.killed_all = true;
                let pids: Vec<u32> =
                    self.living.iter().filter(|(_, fake)| !fake.outside).map(|(pid, _)| *pid).collect();
                pids.into_iter().for_each(|pid| self.kill(pid));
                self.frozen = false;
                Seen::Empty(self.inside() == 0)
            }
            Act::Sweep if self.broken => Seen::Unknown,
            Act::Sweep => Seen::Swept(self.found(true)),
            Act::End(processes) => {
                processes.iter().for_each(|process| self.kill(process.pid));
                let left = processes.iter().filter(|process| self.living.contains_key(&process.pid));
                Seen::Left(left.count() as u64)
            }
            Act::Report(_) => Seen::Done,
        }
    }
}

fn fake() -> impl Strategy<Value = Fake> {
    (any::<[bool; 4]>(), 0u32..3, 0u32..6).prop_map(|([is_sudo, stopped, polite, outside], stuck, forks)| {
        let outside = outside && !is_sudo;
        Fake { is_sudo, stopped, polite, outside, stuck: stuck / 2, forks: if is_sudo { 0 } else { forks } }
    })
}

fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        Just(Manner::Graceful(Duration::from_secs(5))),
        Just(Manner::KillKeepingSudo),
        Just(Manner::Immediate)
    ]
}

fn world(fakes: Vec<Fake>, broken: bool) -> World {
    let living: BTreeMap<u32, Fake> = (1..).zip(fakes).collect();
    World { next: u32::try_from(living.len()).unwrap(), living, broken, ..World::default() }
}

/// Runs one end, with a bound on the number of acts.
fn play(world: &mut World, manner: Manner) -> EndReport {
    try_once(world, &mut Reaping::new(manner))
}

fn try_once(world: &mut World, reaping: &mut Reaping) -> EndReport {
    let mut seen = Seen::Begin { populated: world.inside() > 0 };
    for _ in 0..200 {
        let act = reaping.next(seen);
        if let Act::Report(report) = act {
            return report;
        }
        seen = world.perform(&act);
    }
    panic!("it does not come to an end");
}

proptest! {
    #[test]
    fn an_end_that_is_claimed_is_one(fakes in prop::collection::vec(fake(), 0..12), manner in manner(), broken: bool) {
        let mut world = world(fakes, broken);
        let report = play(&mut world, manner);
        if report.left == 0 {
            prop_assert!(world.living.is_empty(), "{:?}", world.living);
        }
        prop_assert!(!world.sudo_killed_while_others_lived || manner == Manner::Immediate);
        prop_assert!(!world.frozen, "it is left frozen");
    }

    #[test]
    fn what_can_be_killed_is_and_the_report_says_so(fakes in prop::collection::vec(fake(), 0..12), manner in manner()) {
        let fakes: Vec<Fake> = fakes.into_iter().map(|fake| Fake { stuck: 0, ..fake }).collect();
        let outside = fakes.iter().filter(|fake| fake.outside).count() as u64;
        let mut world = world(fakes, false);
        let report = play(&mut world, manner);
        prop_assert_eq!(report.left, 0);
        prop_assert!(world.living.is_empty());
        prop_assert!(report.escaped >= outside);
    }
}

#[test]
fn an_elevator_ends_by_itself_once_its_command_is_gone() {
    let sudo = Fake { is_sudo: true, stopped: false, polite: false, outside: false, stuck: 0, forks: 0 };
    let shell = Fake { is_sudo: false, ..sudo.clone() };
    let mut world = world(vec![sudo, shell], false);
    let report = play(&mut world, Manner::Graceful(Duration::from_secs(1)));
    assert_eq!((report.killed, report.left, world.killed_all), (2, 0, false));
}

#[test]
fn a_stopped_elevator_is_not_waited_for() {
    let sudo = Fake { is_sudo: true, stopped: true, polite: false, outside: false, stuck: 0, forks: 0 };
    let mut world = world(vec![sudo], false);
    assert_eq!(play(&mut world, Manner::Graceful(Duration::from_secs(1))).left, 0);
    assert!(world.living.is_empty());
}

#[test]
fn what_takes_two_tries_is_counted_once() {
    let stuck = Fake { is_sudo: false, stopped: false, polite: false, outside: false, stuck: 30, forks: 0 };
    let shell = Fake { stuck: 0, ..stuck.clone() };
    let mut world = world(vec![stuck, shell.clone(), shell], false);
    let mut reaping = Reaping::new(Manner::KillKeepingSudo);
    assert!(try_once(&mut world, &mut reaping).left > 0);
    world.living.clear();
    reaping.retry(Manner::KillKeepingSudo);
    let report = try_once(&mut world, &mut reaping);
    assert_eq!((report.killed, report.left), (3, 0));
}
