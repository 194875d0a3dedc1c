//! Runs inside a host, in each place of the matrix of callers: makes every call, and prints a line per call.
#![allow(clippy::print_stdout, reason = "what it prints is read by the stories")]

use std::collections::HashMap;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use jit_proto::bus::names::{BUS_NAME, OBJECT_PATH, SYSTEM_BUS_ADDRESS};
use serde::Serialize;
use zbus::connection::Builder;
use zbus::zvariant::DynamicType;
use zbus::{Connection, Fd, Variant};

const MANAGER: &str = "org.jitd.Jit1.Manager";
const AUDIT: &str = "org.jitd.Jit1.Audit";
/// No request, grant or account has this number or name, so that an admitted call changes nothing.
const NOTHING: u64 = 4711;
const NOBODY: &str = "no-such-user";

type Options = HashMap<&'static str, Variant<'static>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let grant: u64 = std::env::args().nth(1).context("usage: cells GRANT")?.parse()?;
    let bus = Builder::address(SYSTEM_BUS_ADDRESS).build().await?;
    let cells = Cells { bus };
    let none = Options::new;
    let reason = "a call from everywhere";
    cells.manager("Request", &("no-such-role", 0_u64, reason, "", none())).await;
    cells.manager("Cancel", &(NOTHING, none())).await;
    cells.manager("Approve", &(NOTHING, none())).await;
    cells.manager("Deny", &(NOTHING, reason, none())).await;
    cells.manager("Release", &(NOTHING, none())).await;
    cells.manager("Extend", &(NOTHING, 0_u64, reason, none())).await;
    // Another person's window, by more than the role allows: an admitted operator gets that error.
    let long = 99 * 3_600_000_000_u64;
    cells.cell("ExtendOther", MANAGER, "Extend", &(grant, long, reason, none())).await;
    cells.manager("Grant", &(NOBODY, "ops", 0_u64, reason, none())).await;
    cells.manager("Revoke", &(NOTHING, reason, none())).await;
    cells.manager("RevokeUser", &(NOBODY, reason, none())).await;
    // Without a reason, so that nothing is revoked.
    cells.manager("RevokeAll", &("", none())).await;
    let (_reader, writer) = std::io::pipe()?;
    // The audit log is sealed already, and no other seal is requested.
    cells.audit("Seal", &(Fd::from(writer.as_fd()), none())).await;
    cells.audit("Acknowledge", &(NOTHING, reason, none())).await;
    // Of nothing: who is admitted is told that nothing has changed.
    let nothing: &[&str] = &[];
    cells.audit("Doctor", &(nothing, nothing, nothing, none())).await;
    cells.manager("Reload", &()).await;
    cells.manager("Pending", &()).await;
    cells.manager("Show", &(NOTHING,)).await;
    for look in ["Grants", "Sessions", "Roles", "Status", "PolicyCheck", "PolicyShow"] {
        cells.manager(look, &()).await;
    }
    cells.audit("Read", &(1_u64, 1_u64)).await;
    cells.audit("Search", &(none(), 1_u64, 1_u64)).await;
    cells.audit("Verify", &()).await;
    cells.audit("Head", &()).await;
    Ok(())
}

struct Cells {
    bus: Connection,
}

impl Cells {
    async fn manager(&self, method: &str, body: &(impl Serialize + DynamicType)) {
        self.cell(method, MANAGER, method, body).await;
    }

    async fn audit(&self, method: &str, body: &(impl Serialize + DynamicType)) {
        self.cell(method, AUDIT, method, body).await;
    }

    async fn cell(&self, name: &str, interface: &str, method: &str, body: &(impl Serialize + DynamicType)) {
        let answer = self.bus.call_method(Some(BUS_NAME), OBJECT_PATH, Some(interface), method, body).await;
        match answer {
            Ok(_) => println!("cell {name} done"),
            Err(zbus::Error::MethodError(error, text, _)) => {
                println!("cell {name} {} {}", error.as_str(), text.unwrap_or_default());
            }
            Err(error) => println!("cell {name} lost {error}"),
        }
    }
}
