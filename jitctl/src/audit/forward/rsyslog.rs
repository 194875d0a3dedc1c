//! The files that make rsyslog take the records, and whether a file is one of them as it was written.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::Path;

use jit_proto::audit::hash::RecordHash;

use super::failed;
use crate::failure::Failure;

/// Where rsyslog listens for jitd alone: tmpfiles.d makes the folder, which nobody but root can enter.
pub(super) const SOCKET: &str = "/run/jitd-rsyslog/socket";
/// Where rsyslog writes the records.
pub(super) const LOG: &str = "/var/log/jitd-audit.log";
/// What starts a file of ours; a digest of the lines below it follows.
const SIGNATURE: &str =
    "# Written by jitctl audit forward; jitctl audit forward --remove removes it. Lines below: ";
/// Another way from jitd to a syslog daemon, which siem/README.md describes.
const OTHER_SOCKET: &str = "/run/jitd-syslog";

/// A file of ours.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: &'static str,
    text: fn(&[Collector]) -> String,
}

impl File {
    /// What it holds, below its first line.
    pub(super) fn text(&self, to: &[Collector]) -> String {
        (self.text)(to)
    }
}

/// All of them. One that is written later needs those before it.
pub(super) const FILES: [File; 2] = [
    File { path: "/etc/rsyslog.d/60-jitd-forward.conf", text: configuration },
    File { path: "/etc/logrotate.d/jitd-forward", text: |_| rotation() },
];

/// A collector on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collector {
    host: String,
    port: u16,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Reads `HOST:PORT` or `[IPV6]:PORT`. Nothing that could end a string of rsyslog's configuration is a host.
pub(super) fn collector(text: &str) -> Result<Collector, String> {
    let help = "write HOST:PORT, as siem.example.org:6514, or [IPV6]:PORT";
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("no port; {help}"))?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("no port number; {help}"))?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inner {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let part = |part: &str| {
                !part.is_empty()
                    && !part.starts_with('-')
                    && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            host.len() <= 253 && host.split('.').all(part)
        }
    };
    if !is_host {
        return Err(format!("no host name and no address; {help}"));
    }
    Ok(Collector { host: inner.unwrap_or(host).to_owned(), port })
}

/// Fails where rsyslog cannot be set up so.
pub(super) fn check_host(force: bool) -> Result<(), Failure> {
    if !Path::new("/usr/sbin/rsyslogd").exists() || !Path::new("/etc/rsyslog.conf").exists() {
        return Err(failed(
            "rsyslog is not installed here (apt install rsyslog). For syslog-ng and others see \
             /usr/share/doc/jitd/siem/README.md",
        ));
    }
    if !force && Path::new(OTHER_SOCKET).exists() {
        let message = format!(
            "the records go over {OTHER_SOCKET} already, as /usr/share/doc/jitd/siem/README.md describes it; nothing was \
             changed. Remove jitd-syslog.socket and its drop-ins first, or use --force"
        );
        return Err(failed(&message));
    }
    Ok(())
}

/// The text with its first line, by which it is known as ours.
pub(super) fn signed(text: &str) -> String {
    format!("{SIGNATURE}{}\n{text}", RecordHash::of(text))
}

/// Whether audit forward has written the file, edited or not.
pub(super) fn is_signed(text: &str) -> bool {
    text.starts_with(SIGNATURE)
}

/// Whether audit forward has written the file, and nobody has edited it since.
pub(super) fn is_ours(text: &str) -> bool {
    text.split_once('\n').is_some_and(|(_, below)| signed(below) == text)
}

/// rsyslog's part.
fn configuration(to: &[Collector]) -> String {
    let mut text = format!(
        r#"#
# Each audit record of jitd as one line of RFC 5424, as jitd wrote it: number, hash and structured data are in it.
template(name="jitd_rfc5424" type="string" string="%rawmsg%\n")
template(name="jitd_rfc5424_sent" type="string" string="%rawmsg%")

# The other parser reads what comes from a local socket as the old format.
input(type="imuxsock" Socket="{SOCKET}" ruleset="jitd_forward" useSpecialParser="off" rateLimit.Interval="0")

# Direct: a record is in the file before the next one is taken from the socket, where jitd waits.
ruleset(name="jitd_forward" queue.type="Direct") {{
    action(type="omfile" name="jitd_forward_file" file="{LOG}" template="jitd_rfc5424"
           fileOwner="root" fileGroup="adm" fileCreateMode="0640")
"#
    );
    for (n, Collector { host, port }) in to.iter().enumerate() {
        let n = n + 1;
        // A queue on the disk: nobody waits for a collector that is away, and up to 1 GB waits for it.
        text += &format!(
            r#"    action(type="omfwd" name="jitd_forward_{n}" target="{host}" port="{port}" protocol="tcp" TCP_Framing="octet-counted"
           template="jitd_rfc5424_sent" action.resumeRetryCount="-1" action.resumeIntervalMax="30"
           queue.type="Disk" queue.filename="jitd_forward_{n}" queue.maxDiskSpace="1g" queue.checkpointInterval="1"
           queue.saveOnShutdown="on")
"#
        );
    }
    text + "}\n"
}

/// logrotate's part: as Debian has it for auth.log.
fn rotation() -> String {
    format!(
        "{LOG}\n{{\n\trotate 4\n\tweekly\n\tmissingok\n\tnotifempty\n\tcompress\n\tdelaycompress\n\tpostrotate\n\t\t\
         /usr/lib/rsyslog/rsyslog-rotate\n\tendscript\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_host_and_a_port_and_nothing_else() {
        for good in ["siem.example.org:514", "192.0.2.7:6514", "[2001:db8::1]:514", "siem:1"] {
            assert_eq!(collector(good).unwrap().to_string(), good);
        }
        for bad in [
            "siem",
            "siem:",
            "siem:0",
            "siem:70000",
            ":514",
            "a\"b:514",
            "a b:514",
            "2001:db8::1:514",
            "[x]:5",
            "-a:5",
            "a..b:5",
        ] {
            assert!(collector(bad).unwrap_err().contains("write HOST:PORT"), "{bad}");
        }
    }

    #[test]
    fn a_file_that_was_edited_is_not_taken_for_ours() {
        for file in FILES {
            let text = signed(&file.text(&[collector("siem:514").unwrap()]));
            assert!(is_ours(&text) && is_signed(&text), "{}", file.path);
            let edited = text.replacen("weekly", "daily", 1).replacen("Direct", "LinkedList", 1);
            assert!(!is_ours(&edited) && is_signed(&edited), "{}", file.path);
        }
        assert!(!is_ours("") && !is_ours("x\n") && !is_signed("x\n"));
    }

    #[test]
    fn each_collector_has_an_action_and_a_queue_of_its_own() {
        let to = ["siem:514", "[2001:db8::1]:6514"].map(|text| collector(text).unwrap());
        let text = configuration(&to);
        assert_eq!(text.matches("queue.filename=\"jitd_forward_").count(), 2);
        assert!(text.contains("target=\"2001:db8::1\" port=\"6514\""), "{text}");
        assert!(!configuration(&[]).contains("omfwd"));
    }
}
