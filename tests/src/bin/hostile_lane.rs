//! `make test-hostile`: attacks in their long form, with one line of result each.
#![allow(clippy::print_stdout, reason = "a report")]

use std::time::Duration;

use anyhow::{Result, ensure};
use jit_tests::floods::{FLOODS, Outcome, Scene, Times, memory, slower, was_never_ended};
use jit_tests::host::{Host, play};
use jit_tests::plan::{Plan, Release};

/// Each flood is played three times, with sudos before it and in it in turn.
const TIMES: Times = Times { rounds: 3, seconds: 8, sudos: 25 };
/// Root's revocation in the middle of a flood takes no longer.
const REVOKED_WITHIN: Duration = Duration::from_secs(1);
/// Sudo becomes no slower than so many times, or no more than sudo without the gate: with so many processes as a flood has,
/// the machine's own share is what is measured.
const SLOWER: f64 = 2.0;
/// The daemon's private memory at the end.
const AT_THE_END: u64 = 64_000_000;

fn main() -> Result<()> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    play(&Plan::new(Release::Trixie), |host| floods(host, &only))
}

/// All floods, one after the other, on one host.
fn floods(host: &mut Host, only: &[String]) -> Result<()> {
    let mut scene = Scene::set(host)?;
    let mut wrong = Vec::new();
    let (mut became_root, mut held_up, mut refused) = (0, 0, 0);
    for flood in FLOODS.iter().filter(|flood| only.is_empty() || only.iter().any(|name| name == flood.name)) {
        let outcome = scene.play(host, *flood, TIMES)?;
        println!("{outcome}");
        if !is_right(&outcome) {
            wrong.push(outcome.name);
        }
        became_root += outcome.became_root;
        held_up += outcome.held_up;
        refused += outcome.refused;
        was_never_ended(host)?;
    }
    let (left, peak) = memory(host)?;
    println!(
        "at the end jitd has {:.1} MB; it has had {:.1} MB at most, files included",
        left as f64 / 1e6,
        peak as f64 / 1e6
    );
    println!("floods: {became_root} became root, {held_up} held up, {refused} refused");
    ensure!(wrong.is_empty(), "too slow in {}", wrong.join(", "));
    ensure!(became_root == 0 && held_up == 0, "somebody got in, or was kept out");
    ensure!(left <= AT_THE_END, "jitd has {left} bytes at the end");
    Ok(())
}

fn is_right(outcome: &Outcome) -> bool {
    let sudo = slower(outcome.sudo);
    outcome.revoke <= REVOKED_WITHIN && (sudo <= SLOWER || sudo <= slower(outcome.ungated))
}
