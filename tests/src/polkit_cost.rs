//! What jitd's rule costs pkexec, beside a rule that says yes.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock::wait_until;
use crate::host::Host;
use crate::people::{DAVE, MALLORY};

/// Calls in a row of which one time is taken.
const ROW: u32 = 10;
const RULE: &str = "/etc/polkit-1/rules.d/00-jitd.rules";
const STACK: &str = "/etc/pam.d/polkit-1";
const ROLE: &str = "[role.polkit-cost]\ndescription = \"pkexec\"\nmembers = [\"@webops\"]\nservices = [\"polkit-1\"]\n\
    [role.polkit-cost.approval]\nfrom = [\"@leads\"]\n";
/// polkit reads a rule that was put in, or taken away, within this.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Rows of each kind. The rule is the whole host's, so it is put in and taken away for each.
const ROUNDS: usize = 20;

/// What one pkexec takes.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Milliseconds without jitd, the median.
    pub plain: f64,
    /// Milliseconds with jitd's rule and lines, the median.
    pub jitd: f64,
    /// The median of the ratios within the rounds.
    pub ratio: f64,
}

impl Cost {
    /// A line for the reader of the bench.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { plain, jitd, ratio } = self;
        format!("pkexec: {plain:.2} ms, with jitd's rule and lines {jitd:.2} ms: {ratio:.2}x")
    }
}

/// Measures pkexec without jitd's rule and lines and with them, in turn.
///
/// # Errors
/// When a pkexec is refused that should not be.
pub fn measure(host: &Host) -> Result<Cost> {
    host.write("/etc/jitd/roles.d/polkit-cost.toml", ROLE)?;
    host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
    host.write(
        "/etc/polkit-1/rules.d/49-all.rules",
        "polkit.addRule(function () { return polkit.Result.YES; });\n",
    )?;
    host.grant(DAVE, "polkit-cost", "1h")?;
    host.root(&["jitctl", "polkit", "enable"])?.ok()?;
    let (rule, stack) = (host.read(RULE)?, host.read(STACK)?);
    let mut dave = host.login(DAVE)?;
    let mut mallory = host.login(MALLORY)?;
    let script = format!(
        "s=$EPOCHREALTIME; for n in $(seq {ROW}); do pkexec true || exit 1; done; echo $s $EPOCHREALTIME"
    );
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (with_jitd, times) in times.iter_mut().enumerate() {
            if with_jitd == 1 {
                host.write(STACK, &stack)?;
                host.write(RULE, &rule)?;
            } else {
                host.root(&["rm", "-f", RULE, STACK])?.ok()?;
            }
            // mallory has no window.
            wait_until("polkit has read its rules", READ_WITHIN, || {
                Ok((mallory.run("pkexec true")?.status == 0) == (with_jitd == 0))
            })?;
            let output = dave.run_within(&format!("bash -c '{script}'"), Duration::from_secs(60))?;
            let span: Vec<f64> = output.ok()?.line().split(' ').map(str::parse).collect::<Result<_, _>>()?;
            let [began, ended] = span[..] else { anyhow::bail!("{}", output.text()) };
            times.push((ended - began) * 1000.0 / f64::from(ROW));
        }
    }
    host.root(&["jitctl", "polkit", "disable"])?.ok().context("polkit disable")?;
    let [plain, jitd] = times;
    let ratios = plain.iter().zip(&jitd).map(|(plain, jitd)| jitd / plain).collect();
    Ok(Cost { plain: median(plain), jitd: median(jitd), ratio: median(ratios) })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
