//! The gate's D-Bus interface on the system bus, for PAM lines with `bus=system`.

use std::collections::HashMap;

use zbus::message::Header;
use zbus::{Connection, OwnedFd, OwnedVariant, interface};

use super::caller::root_pid;
use crate::core::input::Stage;
use crate::gate::{Answer, GateService, PamItems, denied, line_observes, tagged};

/// The interface.
pub(super) struct Gate {
    service: GateService,
}

impl Gate {
    /// The gate's object on the system bus.
    pub(super) fn on_bus(service: GateService) -> Self {
        Self { service }
    }

    async fn answer(&self, call: Call<'_>, stage: Stage, process: OwnedFd, items: PamItems) -> Answer {
        if let Some(line) = items.too_long() {
            return denied(vec![line]);
        }
        match root_pid(call.connection, &call.header).await {
            Ok(pid) => self.service.query(stage, pid, process.into(), items).await,
            Err(why) => denied(vec![format!("jit: {} is refused: {why}.", items.service)]),
        }
    }
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
        let line_observes = line_observes(&options);
        let items = PamItems { service, user, ruser, tty, line_observes };
        self.answer(Call { connection, header }, Stage::Enter { tagged }, process, items).await
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
        options: HashMap<String, OwnedVariant>,
    ) -> (String, Vec<String>, HashMap<String, OwnedVariant>) {
        let line_observes = line_observes(&options);
        let items = PamItems { service, user, ruser, tty, line_observes };
        self.answer(Call { connection, header }, Stage::Recheck, process, items).await
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
        options: HashMap<String, OwnedVariant>,
    ) -> (String, Vec<String>, HashMap<String, OwnedVariant>) {
        let line_observes = line_observes(&options);
        let items = PamItems { service, user, ruser, tty, line_observes };
        self.answer(Call { connection, header }, Stage::Track, process, items).await
    }
}
