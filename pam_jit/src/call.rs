//! The D-Bus call of a PAM stage: connects, asks, and reads the answer within the deadline.
//!
//! Addresses are constants, and everything happens on the calling thread: on the gate's own socket in blocking steps,
//! on the system bus inside one `block_on`, which also closes the connection, so that no helper thread is left.

use crate::error::{Unanswered, is_own_limit};
use crate::options::Bus;
use crate::socket::{self, Deadline};
use jit_proto::bus::names;
use jit_proto::pam_protocol;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::collections::HashMap;
use std::fmt;
use std::os::fd::AsFd;
use std::time::Duration;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, DBusError, Fd, Message, OwnedVariant, Variant};
use zruntime::SharedRuntime;

/// The method that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// May this process continue?
    Enter {
        /// Whether this process is in an audit session of its own.
        tagged: bool,
    },
    /// May it still, for the target user, which is known now?
    Recheck,
    /// It is about to run its command: move it back into its scope if necessary.
    Track,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enter { .. } => pam_protocol::METHOD_ENTER,
            Self::Recheck => pam_protocol::METHOD_RECHECK,
            Self::Track => pam_protocol::METHOD_TRACK,
        })
    }
}

/// A question about this process.
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    pub(crate) service: &'a str,
    pub(crate) user: &'a str,
    pub(crate) ruser: &'a str,
    pub(crate) tty: &'a str,
    /// The line lets this call pass whatever is answered.
    pub(crate) observe: bool,
}

/// The daemon's decision.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Exactly [`pam_protocol::OUTCOME_ALLOWED`], with lines for the person.
    Allowed(Vec<String>),
    /// Any other outcome, with the lines for the person.
    Refused(Vec<String>),
}

/// Largest body of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The connection to the daemon, for one question.
pub(crate) enum Way {
    /// On the gate's own socket, until this deadline.
    Direct(Deadline),
    /// Over the system bus, within this time.
    System(Duration),
}

impl Way {
    /// The deadline of the PAM stage, `limit` from now.
    pub(crate) fn new(bus: Bus, limit: Duration) -> Self {
        match bus {
            Bus::Direct => Self::Direct(Deadline::after(limit)),
            Bus::System => Self::System(limit),
        }
    }
}

/// Asks the daemon.
pub(crate) fn ask(way: &Way, question: &Question<'_>) -> Result<Answer, Unanswered> {
    let process = pidfd_open(getpid(), PidfdFlags::empty()).map_err(|e| Unanswered::Means(e.into()))?;
    let mut options: HashMap<&str, Variant<'_>> = HashMap::new();
    if let Method::Enter { tagged } = question.method {
        options.insert(pam_protocol::OPTION_TAGGED, Variant::from(tagged));
    }
    if question.observe {
        options.insert(pam_protocol::OPTION_OBSERVE, Variant::from(true));
    }
    let body =
        (Fd::from(process.as_fd()), question.service, question.user, question.ruser, question.tty, options);
    let method = question.method.to_string();
    match way {
        Way::Direct(deadline) => {
            let call = Message::method_call(names::OBJECT_PATH, method.as_str())
                .interface(names::GATE_INTERFACE)
                .build(&body)
                .map_err(unanswered)?;
            let reply = socket::exchange(deadline, &call, process.as_fd())?;
            answer_to(&call, &reply)
        }
        // zruntime's own `block_on` and not zbus's: if another crate's features turned tokio on in zbus, zbus's would
        // start tokio's threads, while a connection made outside of a tokio context stays on zruntime.
        Way::System(limit) => zruntime::block_on(async {
            let runtime = SharedRuntime::current().map_err(Unanswered::Means)?;
            let exchange = Box::pin(async {
                let connection = connect_to_the_bus().await?;
                let (bus, path) = (Some(names::BUS_NAME), names::OBJECT_PATH);
                let reply = connection
                    .call_method(bus, path, Some(names::GATE_INTERFACE), method.as_str(), &body)
                    .await;
                read(&reply.map_err(unanswered)?)
            });
            runtime.timeout(*limit, exchange).await.unwrap_or(Err(Unanswered::TimedOut(*limit)))
        }),
    }
}

/// Parses the reply, if it belongs to this call, or the error.
fn answer_to(call: &Message, reply: &Message) -> Result<Answer, Unanswered> {
    if reply.header().reply_serial() != Some(call.primary_header().serial_num()) {
        return Err(Unanswered::Nonsense("the serial number is that of another call".to_owned()));
    }
    match reply.message_type() {
        Type::MethodReturn => read(reply),
        Type::Error => Err(unanswered(zbus::Error::from(reply.clone()))),
        other => Err(Unanswered::Nonsense(format!("a {other:?}"))),
    }
}

/// Connects to the system bus at its constant address, never at `$DBUS_SYSTEM_BUS_ADDRESS`.
async fn connect_to_the_bus() -> Result<Connection, Unanswered> {
    Builder::address(names::SYSTEM_BUS_ADDRESS).user_id(0).build().await.map_err(unanswered)
}

/// Parses an answer; anything that deviates from the protocol is no answer.
fn read(reply: &Message) -> Result<Answer, Unanswered> {
    let body = reply.body();
    if body.len() > MAX_ANSWER_BYTES {
        return Err(Unanswered::Nonsense(format!("{} bytes", body.len())));
    }
    let (outcome, text, _more): (String, Vec<String>, HashMap<String, OwnedVariant>) =
        body.deserialize().map_err(|e| Unanswered::Nonsense(e.to_string()))?;
    Ok(if outcome == pam_protocol::OUTCOME_ALLOWED { Answer::Allowed(text) } else { Answer::Refused(text) })
}

fn unanswered(error: zbus::Error) -> Unanswered {
    use zbus::fdo::Error as Fdo;
    match error {
        zbus::Error::MethodError(name, text, _) => Unanswered::Error(text.unwrap_or(name.to_string())),
        zbus::Error::FDO(error) => {
            let text = error.description().map_or_else(|| error.to_string(), str::to_owned);
            match *error {
                // Errors of the bus, and not of the daemon.
                Fdo::ServiceUnknown(_) | Fdo::NameHasNoOwner(_) | Fdo::NoReply(_) | Fdo::Disconnected(_) => {
                    Unanswered::Lost(text)
                }
                _ => Unanswered::Error(text),
            }
        }
        zbus::Error::InputOutput(error) if is_own_limit(&error) => Unanswered::Means(Errno::MFILE.into()),
        zbus::Error::InputOutput(error) => Unanswered::Lost(error.to_string()),
        error => Unanswered::Lost(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply<B: zbus::export::serde::Serialize + zbus::DynamicType>(body: &B) -> Message {
        let call = Message::method_call(names::OBJECT_PATH, pam_protocol::METHOD_ENTER).build(&()).unwrap();
        Message::method_return(&call.header()).build(body).unwrap()
    }

    fn more() -> HashMap<String, Variant<'static>> {
        HashMap::from([("session".to_owned(), Variant::from(7u64))])
    }

    #[test]
    fn only_the_exact_word_lets_pass() {
        let text = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(read(&reply(&("allowed", &text, more()))).unwrap(), Answer::Allowed(text.clone()));
        for outcome in ["denied", "Allowed", "allowed ", " allowed", "allowed\n", "", "pending", "allow"] {
            assert_eq!(
                read(&reply(&(outcome, &text, more()))).unwrap(),
                Answer::Refused(text.clone()),
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn an_answer_of_another_shape_is_no_answer() {
        assert!(matches!(read(&reply(&())), Err(Unanswered::Nonsense(_))));
        assert!(matches!(read(&reply(&"allowed")), Err(Unanswered::Nonsense(_))));
        assert!(matches!(read(&reply(&("allowed", "text", more()))), Err(Unanswered::Nonsense(_))));
        assert!(matches!(read(&reply(&("allowed", vec![1u32], more()))), Err(Unanswered::Nonsense(_))));
        assert!(matches!(read(&reply(&(true, vec!["a"], more()))), Err(Unanswered::Nonsense(_))));
    }

    #[test]
    fn an_answer_beyond_all_measure_is_no_answer() {
        let text = vec!["x".repeat(MAX_ANSWER_BYTES)];
        assert!(matches!(read(&reply(&("allowed", text, more()))), Err(Unanswered::Nonsense(_))));
    }
}
