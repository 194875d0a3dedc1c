//! The gate's D-Bus interface on the system bus, for modules with `bus=system`.

use std::collections::HashMap;

use zbus::message::Header;
use zbus::{Connection, OwnedFd, OwnedVariant, interface};

use super::{Answer, GateService, PamItems, denied, tagged};
use crate::bus;
use crate::core::event::Stage;

/// No PAM item is longer.
const MAX_ITEM_BYTES: usize = 1024;

/// The interface.
pub struct Gate {
    behind: GateService,
}

impl Gate {
    /// The gate as the system bus has it.
    #[must_use]
    pub fn on_bus(behind: GateService) -> Self {
        Self { behind }
    }

    async fn answer(&self, call: Call<'_>, stage: Stage, process: OwnedFd, said: PamItems) -> Answer {
        if let Some(line) = too_long(&said) {
            return denied(vec![line]);
        }
        match bus::root_pid(call.connection, &call.header).await {
            Ok(pid) => self.behind.query(stage, pid, process.into(), said).await,
            Err(why) => denied(vec![format!("jit: {} is refused: {why}.", said.service)]),
        }
    }
}

/// What to say of a PAM item that nobody means seriously.
pub(super) fn too_long(said: &PamItems) -> Option<String> {
    let items = [&said.service, &said.user, &said.ruser, &said.tty];
    let long = items.iter().any(|item| item.len() > MAX_ITEM_BYTES);
    long.then(|| "jit: refused: a PAM item is too long.".to_owned())
}

struct Call<'a> {
    connection: &'a Connection,
    header: Header<'a>,
}

#[interface(name = "org.jitd.Jit1.Gate")]
#[allow(clippy::too_many_arguments, reason = "the method's D-Bus signature")]
impl Gate {
    #[zbus(out_args("outcome", "text", "more"))]
    async fn enter(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        process: OwnedFd,
        service: String,
        user: String,
        ruser: String,
        tty: String,
        options: HashMap<String, OwnedVariant>,
    ) -> (String, Vec<String>, HashMap<String, OwnedVariant>) {
        let tagged = tagged(&options);
        let said = PamItems { service, user, ruser, tty };
        self.answer(Call { connection, header }, Stage::Enter { tagged }, process, said).await
    }

    #[zbus(out_args("outcome", "text", "more"))]
    async fn recheck(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        process: OwnedFd,
        service: String,
        user: String,
        ruser: String,
        tty: String,
        _options: HashMap<String, OwnedVariant>,
    ) -> (String, Vec<String>, HashMap<String, OwnedVariant>) {
        let said = PamItems { service, user, ruser, tty };
        self.answer(Call { connection, header }, Stage::Recheck, process, said).await
    }

    #[zbus(out_args("outcome", "text", "more"))]
    async fn track(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        process: OwnedFd,
        service: String,
        user: String,
        ruser: String,
        tty: String,
        _options: HashMap<String, OwnedVariant>,
    ) -> (String, Vec<String>, HashMap<String, OwnedVariant>) {
        let said = PamItems { service, user, ruser, tty };
        self.answer(Call { connection, header }, Stage::Track, process, said).await
    }
}
