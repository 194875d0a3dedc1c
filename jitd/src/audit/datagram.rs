//! How long a message to a local datagram socket may take.

use std::time::Duration;

/// A receiver whose queue stays full for this long counts as one that takes nothing.
pub(super) const MAX_SEND_TIME: Duration = Duration::from_secs(5);
