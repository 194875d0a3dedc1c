//! Waits until a record of jitd's has arrived in a file of rsyslog's, as one well-formed line.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::audit::copies::{Line, read};
use jit_proto::audit::message::Content;

/// jitd tries a socket that was away again within seconds.
const ARRIVES_WITHIN: Duration = Duration::from_secs(20);
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// The lines that come into a file from now on.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    from: u64,
}

impl Lines {
    pub(super) fn from_now(path: &Path) -> Self {
        let from = std::fs::metadata(path).map_or(0, |meta| meta.len());
        Self { path: path.to_owned(), from }
    }

    /// Waits for a record behind this number, and says which has come.
    ///
    /// # Errors
    /// A clause: it has not come in time, or what came is not what jitd wrote.
    pub(super) async fn wait_for(&self, behind: u64) -> Result<u64, String> {
        let mut ticks = tokio::time::interval(LOOKS_EVERY);
        let arrives = async {
            loop {
                ticks.tick().await;
                if let Some(found) = well_formed(&self.appended(), behind) {
                    return found;
                }
            }
        };
        let in_time = tokio::time::timeout(ARRIVES_WITHIN, arrives).await;
        in_time.unwrap_or_else(|_| {
            let (path, seconds) = (self.path.display(), ARRIVES_WITHIN.as_secs());
            Err(format!("no record of jitd arrived in {path} within {seconds} seconds"))
        })
    }

    /// What has come; nothing where it cannot be read, which is what is waited for.
    fn appended(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.from))?;
            file.read_to_end(&mut bytes)
        });
        read.map_or(String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The number of the first record behind a number. An error where its line is no RFC 5424 message, or not of that record.
fn well_formed(text: &str, behind: u64) -> Option<Result<u64, String>> {
    // One that has no end yet is still being written.
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    lines.into_iter().find_map(|line| match read(line) {
        Line::ForwardedRecord(record) if record.seq > behind => {
            let fits = matches!(record.content, Content::Fits | Content::Cut);
            Some(if is_rfc5424(line) && fits {
                Ok(record.seq)
            } else {
                Err(format!("record {} arrived, and its line is not the one that jitd wrote", record.seq))
            })
        }
        _ => None,
    })
}

/// Whether a line begins as RFC 5424, section 6, has it: `<PRI>1 TIMESTAMP HOSTNAME jitd PROCID MSGID [`.
fn is_rfc5424(line: &str) -> bool {
    let Some((priority, rest)) = line.strip_prefix('<').and_then(|rest| rest.split_once(">1 ")) else {
        return false;
    };
    let words: Vec<&str> = rest.splitn(6, ' ').collect();
    priority.parse::<u8>().is_ok_and(|priority| priority <= 191)
        && matches!(words.as_slice(), [_, _, "jitd", _, _, data] if data.starts_with("[jit@"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::audit::chain::{Head, append};
    use jit_proto::audit::message::{element, params};
    use jit_proto::audit::record::{AuditEvent, Draft, Facts, Record};
    use jit_proto::time::{BootId, BootTime, WallTime};

    fn message() -> String {
        let draft = Draft {
            event: AuditEvent::PolicyLoaded,
            wall: WallTime(1_700_000_000_000_000),
            boot: BootTime(7),
            boot_id: BootId("b".into()),
            facts: Facts { policy: Some("a b".into()), ..Facts::default() },
        };
        let mut head = Head { seq: 6, hash: [7; 32].into() };
        let sealed = append(&mut head, draft).unwrap();
        let record: Record = serde_json::from_str(&sealed.line).unwrap();
        let mut all = vec![("seq".to_owned(), "7".to_owned()), ("hash".to_owned(), sealed.hash.clone())];
        all.extend(params(&record, usize::MAX));
        format!("<86>1 {} web1 jitd 9 policy.loaded {} said\n", record.time, element("jit@32473", &all))
    }

    #[test]
    fn a_record_that_came_whole_is_named() {
        let message = message();
        assert_eq!(well_formed(&message, 6), Some(Ok(7)));
        assert_eq!(well_formed(&message, 7), None, "it is not behind that number");
        assert_eq!(well_formed(message.trim_end(), 6), None, "the line has no end yet");
        assert_eq!(well_formed(&format!("somebody else\n{message}"), 6), Some(Ok(7)));
    }

    #[test]
    fn a_line_that_is_not_what_jitd_wrote_is_an_error() {
        let message = message();
        for changed in [
            message.replace("policy=\"a b\"", "policy=\"a c\""),
            format!("Nov 28 10:00:00 web1 {message}"),
            message.replace("<86>1 ", "<86>"),
            message.replace("<86>", "<860>"),
        ] {
            let found = well_formed(&changed, 6);
            assert!(matches!(found, Some(Err(_))), "{changed}: {found:?}");
        }
    }
}
