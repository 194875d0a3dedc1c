//! Passes the settings of a policy that came into force on to each actor.

use std::sync::Arc;

use super::Engine;
use super::messages::{ToDrift, ToNotifier, ToRetention, ToSink};
use crate::core::policy::Policy;

impl Engine {
    /// An actor that has exited gets no settings; its absence is reported where it is used.
    pub(super) fn apply_settings(&mut self, policy: &Arc<Policy>) {
        let settings = &policy.settings;
        self.heartbeat.send_replace(settings.sinks.heartbeat);
        self.sinks.tell(&ToSink::Settings(Arc::new(settings.sinks.clone())));
        let _ = self.drift.send(ToDrift::Paths(settings.setuid_paths.clone()));
        let _ = self.retention.send(ToRetention::Settings(settings.retention.clone()));
        let _ = self.notifier.send(ToNotifier::Policy(Arc::clone(policy)));
        self.alerting.set_rules(&settings.alerts);
    }
}
