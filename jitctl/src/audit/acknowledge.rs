//! `audit acknowledge`: an operator acknowledges open problems of the audit log.

use clap::Args;
use jit_proto::bus::dict::Dict;
use jit_proto::bus::names::AUDIT_INTERFACE;
use jit_proto::identity::Reason;
use serde_json::json;

use crate::client::Daemon;
use crate::failure::Failure;
use crate::output::Output;
use crate::values::{number, text};

/// Options of `audit acknowledge`.
#[derive(Debug, Args)]
pub(crate) struct AcknowledgeArgs {
    /// The record that reports the problem, as status names it; all open problems if omitted
    #[arg(value_name = "SEQ", value_parser = number())]
    record: Option<u64>,
    /// The reason: what was found out, and what was done
    #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
    reason: Reason,
}

impl Daemon {
    /// Acknowledges the problem of a record, or with 0 all open problems; returns their records.
    async fn acknowledge(&self, record: u64, reason: &str) -> Result<Vec<u64>, Failure> {
        self.call(AUDIT_INTERFACE, "Acknowledge", &(record, reason, Dict::new())).await
    }
}

/// Acknowledges one problem, or all that are open.
pub(super) async fn acknowledge(args: AcknowledgeArgs, output: &Output) -> Result<(), Failure> {
    let daemon = Daemon::reach().await?;
    let acknowledged = daemon.acknowledge(args.record.unwrap_or(0), args.reason.as_str()).await?;
    output.view(&json!({ "acknowledged": acknowledged }), |_| told(&acknowledged))
}

fn told(records: &[u64]) -> String {
    let line = |seq: &u64| format!("the problem that record {seq} reports is acknowledged\n");
    records.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_acknowledged_problem_is_a_line() {
        assert_eq!(
            told(&[2, 9]),
            "the problem that record 2 reports is acknowledged\nthe problem that record 9 reports is acknowledged\n"
        );
    }
}
