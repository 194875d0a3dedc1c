//! `release`: releases a grant before its end.

use jit_proto::bus::dict::Dict;
use serde_json::json;

use crate::client::Daemon;
use crate::failure::Failure;
use crate::offer;
use crate::output::Output;

impl Daemon {
    /// Releases a grant; without a number, the only one the caller holds.
    async fn release(&self, grant: Option<u64>) -> Result<u64, Failure> {
        self.manage("Release", &(grant.unwrap_or(0), Dict::new())).await
    }
}

/// Releases the named grant, or the only one.
pub(super) async fn release(id: Option<u64>, output: &Output) -> Result<(), Failure> {
    let daemon = Daemon::reach().await?;
    if id.is_none() {
        let held = daemon.status().await?.held;
        if held.len() > 1 {
            if !output.is_json() {
                output.talk(offer::grants(&held, "", output).trim_end());
            }
            let numbers: Vec<String> = held.iter().map(|grant| grant.id.to_string()).collect();
            return Err(Failure::usage(&format!(
                "you hold several grants; name one of: {}",
                numbers.join(", ")
            )));
        }
    }
    let grant = daemon.release(id).await?;
    output.view(&json!({ "released": grant }), |_| format!("grant {grant} is released\n"))
}
