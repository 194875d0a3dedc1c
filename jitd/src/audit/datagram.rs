//! The time limit of one message to a local datagram socket.

use std::time::Duration;

/// A receiver whose queue stays full for this long has failed.
pub(super) const MAX_SEND_TIME: Duration = Duration::from_secs(5);
