//! Updates the search index while nobody searches, so that a search has little left to do.

use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use super::signals::Pause;
use crate::engine::handle::Handle;
use crate::store::catch_up;

/// The delay before new records are indexed: a sudo has ended by then, and is not slowed down.
const GATHER: Duration = Duration::from_secs(2);

/// Runs until the engine ends.
pub(super) async fn keep(engine: Handle, mut heads: watch::Receiver<u64>) {
    let Ok(path) = engine.look(|snapshot| snapshot.store.path().to_owned()).await else { return };
    let mut failing = false;
    let mut pause = Pause::of(GATHER);
    loop {
        let path = path.clone();
        // A search updates the index too, and returns the error; here it is logged once.
        match tokio::task::spawn_blocking(move || catch_up(&path)).await {
            Ok(Err(problem)) if !failing => {
                warn!("the index of the audit log is not up to date: {problem}");
                failing = true;
            }
            Ok(Ok(_)) => failing = false,
            _ => {}
        }
        if heads.changed().await.is_err() {
            return;
        }
        pause.pass().await;
        heads.mark_unchanged();
    }
}
