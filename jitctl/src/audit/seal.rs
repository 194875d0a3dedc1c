//! Begins a seal, and prints its first key: once, to be kept off this host.

use std::io::Read;
use std::os::fd::OwnedFd;

use clap::Args;
use fast_qr::QRBuilder;
use fast_qr::qr::QRCodeError;
use jit_proto::audit::seal::{FirstKey, SealKey};
use jit_proto::bus::dict::Dict;
use jit_proto::bus::names::{AUDIT_INTERFACE, error};
use jit_proto::bus::view::SealView;
use serde_json::json;
use zbus::Fd;
use zeroize::Zeroizing;

use crate::client::{Daemon, value, view};
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Words of `audit seal`: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SealArgs {
    /// Begin the first seal
    #[arg(long)]
    init: bool,
    /// Begin another seal in place of the current one; this is recorded
    #[arg(long)]
    rotate: bool,
}

impl SealArgs {
    /// `--init`.
    pub(crate) const INIT: Self = Self { init: true, rotate: false };
}

impl Daemon {
    /// Begins a seal; its first key is written into the pipe.
    async fn seal(&self, key_out: Fd<'_>, rotate: bool) -> Result<SealView, Failure> {
        let options = Dict::from([("rotate".to_owned(), value(rotate)?)]);
        view("Seal", self.call(AUDIT_INTERFACE, "Seal", &(key_out, options)).await?)
    }
}

/// Begins the first seal, or another one.
pub(crate) async fn begin(args: SealArgs, output: &Output) -> Result<(), Failure> {
    let SealArgs { init: _, rotate } = args;
    let (mut from_daemon, to_us) = std::io::pipe().map_err(|why| failed(&why))?;
    let daemon = Daemon::reach().await?;
    // The key comes through the pipe: data on the bus stays in the bus's memory.
    let begun = daemon.seal(Fd::from(OwnedFd::from(to_us)), rotate).await?;
    let mut digits = Zeroizing::new([0; 64]);
    from_daemon.read_exact(digits.as_mut_slice()).map_err(|why| failed(&why))?;
    let key = std::str::from_utf8(digits.as_slice()).ok().and_then(SealKey::from_hex);
    let key = key.ok_or_else(|| Failure::strange_answer("Seal", &"the key is no key"))?;
    let first = FirstKey { first: begun.first, key };
    let sheet = first.sheet();
    if output.is_json() {
        output.document(&json!({ "first": begun.first, "seal_key": begun.seal_key, "key": *sheet }))?;
        return Ok(());
    }
    let (number, id) = (begun.first, &begun.seal_key);
    output
        .text(&format!("# key {id} of the seal that begins with record {number}; keep it off this host\n"))?;
    output.text(&sheet)?;
    if output.is_terminal() {
        output.text(&qr(&sheet).map_err(|why| failed(&why))?)?;
    }
    output.talk(&format!(
        "The audit log is sealed from record {number} on. This key is shown once and is stored nowhere on this host: write it \
         down or scan it, keep it elsewhere, and test your copy with jitctl audit verify --key FILE"
    ));
    Ok(())
}

/// The key's text as a QR code of half blocks, two rows a line. Scanned, it is a file for `--key`.
fn qr(sheet: &str) -> Result<String, QRCodeError> {
    Ok(format!("{}\n", QRBuilder::new(sheet).build()?.to_str()))
}

fn failed(why: &dyn std::fmt::Display) -> Failure {
    let message = format!(
        "the first key of the seal was not received: {why}; if the seal has begun, begin another: jitctl audit seal --rotate"
    );
    Failure::new(Exit::Failed, error::FAILED, &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_fits_a_terminal() {
        let key = FirstKey { first: 1_000_000, key: SealKey::taking(&mut [0xab; 32]) };
        let code = qr(&key.sheet()).unwrap();
        let (rows, columns) = (code.lines().count(), code.lines().map(|line| line.chars().count()).max());
        assert!(rows < 40 && columns.unwrap() < 80, "{rows} {columns:?}");
    }
}
