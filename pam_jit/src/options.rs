//! The options after `pam_jit.so` on its line, parsed once.
//!
//! Pure: knows no PAM handle and no system.

use std::ffi::CStr;
use std::time::Duration;

/// The duty of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// `gate`: decides in account, and again first in session.
    Gate,
    /// `track`: last in session, returns a process that another module moved away.
    Track,
}

/// The channel to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bus {
    /// `bus=direct`: the gate's own socket, which only root can open.
    Direct,
    /// `bus=system`: the system bus.
    System,
}

/// A line's options, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// `gate` or `track`; one of them is required.
    pub(crate) duty: Duty,
    /// `timeout=`: the limit of a whole PAM stage.
    pub(crate) timeout: Duration,
    /// `bus=`.
    pub(crate) bus: Bus,
    /// `enter`: what the account stage does is done in the session stage, for a program that runs no account stage
    /// (pkexec).
    pub(crate) enter: bool,
    /// `tag=no`: starts no audit session; the daemon then moves the process into its scope before it answers.
    pub(crate) tag: bool,
    /// `debug`: logs questions and answers to the system log.
    pub(crate) debug: bool,
    /// `observe`: denies nobody, whatever the daemon answers.
    pub(crate) observe: bool,
    /// `services=a,b`: the only PAM services that this line gates; all if it is not given.
    pub(crate) services: Option<Vec<String>>,
}

/// The option that lets everybody pass.
const OBSERVE: &str = "observe";

/// Default of `timeout=`.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
/// Below this a busy host would deny people because it is busy.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);
/// Above this a caller would think that sudo hangs.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a line is invalid; the text has the option as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadOption {
    /// An unknown option.
    #[error("there is no option `{0}`")]
    Unknown(String),
    /// The same option twice.
    #[error("duplicate option `{0}`")]
    Repeated(String),
    /// `gate` and `track` on one line.
    #[error("`gate` and `track` belong on two lines")]
    BothDuties,
    /// A value that the option does not accept.
    #[error("`{option}` is not accepted: {why}")]
    Value {
        /// The option as written.
        option: String,
        /// What it accepts.
        why: &'static str,
    },
    /// Neither `gate` nor `track`.
    #[error("`gate` or `track` is missing")]
    NoDuty,
    /// `enter` beside `track`.
    #[error("`enter` belongs on the line with `gate`")]
    EnterToTrack,
}

impl Options {
    /// Parses the arguments of a line. One invalid option makes the whole line invalid: a misspelt `services` would
    /// otherwise gate too much or, worse, too little.
    pub(crate) fn parse(arguments: &[&CStr]) -> Result<Self, BadOption> {
        let mut duty = None;
        let mut timeout = None;
        let mut bus = None;
        let mut tag = None;
        let mut debug = None;
        let mut observe = None;
        let mut enter = None;
        let mut services = None;
        for argument in arguments {
            let option = argument.to_string_lossy();
            let fresh = match option.split_once('=') {
                None if option == "gate" => is_first(&mut duty, Duty::Gate)?,
                None if option == "track" => is_first(&mut duty, Duty::Track)?,
                None if option == "enter" => enter.replace(true).is_none(),
                None if option == "debug" => debug.replace(true).is_none(),
                None if option == OBSERVE => observe.replace(true).is_none(),
                Some(("timeout", value)) => {
                    let value = timeout_of(value).ok_or_else(|| BadOption::Value {
                        option: option.to_string(),
                        why: "a time from 100ms to 30s is needed, such as 2s or 500ms",
                    })?;
                    timeout.replace(value).is_none()
                }
                Some(("bus", "direct")) => bus.replace(Bus::Direct).is_none(),
                Some(("bus", "system")) => bus.replace(Bus::System).is_none(),
                Some(("bus", _)) => {
                    return Err(BadOption::Value {
                        option: option.to_string(),
                        why: "`direct` or `system` is needed",
                    });
                }
                Some(("tag", "yes")) => tag.replace(true).is_none(),
                Some(("tag", "no")) => tag.replace(false).is_none(),
                Some(("tag", _)) => {
                    return Err(BadOption::Value {
                        option: option.to_string(),
                        why: "`yes` or `no` is needed",
                    });
                }
                Some(("services", value)) => {
                    let names: Vec<String> = value.split(',').map(str::to_owned).collect();
                    if names.iter().any(String::is_empty) {
                        return Err(BadOption::Value {
                            option: option.to_string(),
                            why: "names of PAM services are needed, with commas between them",
                        });
                    }
                    services.replace(names).is_none()
                }
                _ => return Err(BadOption::Unknown(option.to_string())),
            };
            if !fresh {
                return Err(BadOption::Repeated(option.to_string()));
            }
        }
        let duty = duty.ok_or(BadOption::NoDuty)?;
        if enter.is_some() && duty == Duty::Track {
            return Err(BadOption::EnterToTrack);
        }
        Ok(Self {
            duty,
            enter: enter.unwrap_or(false),
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            bus: bus.unwrap_or(Bus::Direct),
            tag: tag.unwrap_or(true),
            debug: debug.unwrap_or(false),
            observe: observe.unwrap_or(false),
            services,
        })
    }

    /// Whether a line says `observe`, also where the rest of it is not valid.
    pub(crate) fn say_observe(arguments: &[&CStr]) -> bool {
        arguments.iter().any(|argument| argument.to_bytes() == OBSERVE.as_bytes())
    }

    /// Whether this line gates a PAM service.
    pub(crate) fn cover(&self, service: &str) -> bool {
        self.services.as_ref().is_none_or(|services| services.iter().any(|name| name == service))
    }
}

/// Sets the line's duty; `false` if it was set to the same before.
fn is_first(duty: &mut Option<Duty>, option: Duty) -> Result<bool, BadOption> {
    match duty.replace(option) {
        None => Ok(true),
        Some(before) if before == option => Ok(false),
        Some(_) => Err(BadOption::BothDuties),
    }
}

/// `2s`, `500ms`: digits and a unit, nothing else, within the range.
fn timeout_of(text: &str) -> Option<Duration> {
    let (digits, unit): (&str, fn(u64) -> Duration) = match text.strip_suffix("ms") {
        Some(digits) => (digits, Duration::from_millis),
        None => (text.strip_suffix('s')?, Duration::from_secs),
    };
    // `parse` alone would accept a sign.
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let timeout = unit(digits.parse().ok()?);
    (MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout).then_some(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&CStr]) -> Result<Options, BadOption> {
        Options::parse(line)
    }

    #[test]
    fn a_bare_duty_gets_the_defaults() {
        let gate = parse(&[c"gate"]).unwrap();
        assert_eq!(
            gate,
            Options {
                duty: Duty::Gate,
                timeout: Duration::from_secs(2),
                bus: Bus::Direct,
                tag: true,
                enter: false,
                debug: false,
                observe: false,
                services: None
            }
        );
        assert_eq!(parse(&[c"track"]).unwrap().duty, Duty::Track);
    }

    #[test]
    fn every_option_is_read_in_any_order() {
        let options =
            parse(&[c"debug", c"services=sudo,sudo-i", c"timeout=500ms", c"gate", c"bus=system", c"tag=no"])
                .unwrap();
        assert_eq!(options.duty, Duty::Gate);
        assert_eq!(options.timeout, Duration::from_millis(500));
        assert_eq!(options.bus, Bus::System);
        assert!(options.debug && !options.tag);
        assert!(options.cover("sudo") && options.cover("sudo-i"));
        assert!(!options.cover("su") && !options.cover("") && !options.cover("sudo,sudo-i"));
    }

    #[test]
    fn only_the_exact_word_observes() {
        assert!(parse(&[c"gate", c"observe"]).unwrap().observe);
        assert!(!parse(&[c"gate"]).unwrap().observe);
        assert!(Options::say_observe(&[c"gate", c"observe", c"tiemout=2s"]));
        for other in [c"Observe", c"observe=yes", c"observe=no", c"observer", c" observe", c"no-observe", c""]
        {
            assert!(!Options::say_observe(&[c"gate", other]), "{other:?}");
            assert!(parse(&[c"gate", other]).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_line_without_services_covers_every_service() {
        assert!(parse(&[c"gate"]).unwrap().cover("sshd"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, text) in [
            (&[c"gate", c"failmode=open"] as &[&CStr], "there is no option `failmode=open`"),
            (&[c"Gate"], "there is no option `Gate`"),
            (&[c"gate", c"debug=1"], "there is no option `debug=1`"),
            (&[c"gate", c""], "there is no option ``"),
            (&[c"gate", c"track"], "`gate` and `track` belong on two lines"),
            (&[c"gate", c"gate"], "duplicate option `gate`"),
            (&[c"gate", c"bus=direct", c"bus=system"], "duplicate option `bus=system`"),
            (&[c"gate", c"tag=off"], "`tag=off` is not accepted: `yes` or `no` is needed"),
            (&[c"gate", c"observe", c"observe"], "duplicate option `observe`"),
            (&[c"gate", c"observe=yes"], "there is no option `observe=yes`"),
            (&[c"debug"], "`gate` or `track` is missing"),
            (&[c"enter"], "`gate` or `track` is missing"),
            (&[c"track", c"enter"], "`enter` belongs on the line with `gate`"),
            (&[c"enter", c"gate", c"enter"], "duplicate option `enter`"),
            (&[], "`gate` or `track` is missing"),
            (&[c"gate", c"bus=session"], "`bus=session` is not accepted: `direct` or `system` is needed"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_timeout_outside_its_range_or_without_a_unit_is_refused() {
        for good in [c"timeout=100ms", c"timeout=30s", c"timeout=30000ms", c"timeout=1s"] {
            assert!(parse(&[c"gate", good]).is_ok(), "{good:?}");
        }
        for bad in [
            c"timeout=",
            c"timeout=2",
            c"timeout=s",
            c"timeout=ms",
            c"timeout=99ms",
            c"timeout=31s",
            c"timeout=-1s",
            c"timeout=+1s",
            c"timeout=1.5s",
            c"timeout=1m",
            c"timeout=1 s",
            c"timeout=99999999999999999999s",
            c"timeout=18446744073709551615s",
        ] {
            assert!(matches!(parse(&[c"gate", bad]), Err(BadOption::Value { .. })), "{bad:?}");
        }
    }

    #[test]
    fn an_empty_name_among_the_services_is_refused() {
        for bad in [c"services=", c"services=,", c"services=sudo,", c"services=,sudo"] {
            assert!(matches!(parse(&[c"gate", bad]), Err(BadOption::Value { .. })), "{bad:?}");
        }
    }
}
