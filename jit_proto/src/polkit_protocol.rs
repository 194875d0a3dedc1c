//! What polkit's rule asks jitd through /usr/libexec/jit-polkit, and the answer, as the helper and the daemon say them to
//! each other on [`crate::bus::names::POLKIT_SOCKET`].
//!
//! One message with a pidfd of the subject beside it (unix(7), `SCM_RIGHTS`): [`MAGIC`], then each field of a [`Question`]
//! with a NUL behind it. The answer is [`YES`] or [`NO`], and the connection is closed.

/// What polkitd runs for the rule.
pub const HELPER: &str = "/usr/libexec/jit-polkit";
/// How a question begins.
pub const MAGIC: &[u8] = b"jit-polkit 1\0";
/// The one answer that lets somebody pass. Every other text is a refusal.
pub const YES: &[u8] = b"yes\n";
/// What a refusal says.
pub const NO: &[u8] = b"no\n";
/// No question is longer, in bytes.
pub const MAX_QUESTION_BYTES: usize = 16 * 1024;
/// A longer command line is cut here, in bytes, as those that the gate reads are.
pub const MAX_COMMAND_LINE_BYTES: usize = 4096;
/// No other field is longer, in bytes. Unit names have 255 at most, paths 4095.
pub const MAX_FIELD_BYTES: usize = 4096;

/// The service by which roles open pkexec: the PAM service of its session stage.
pub const SERVICE_PKEXEC: &str = "polkit-1";
/// The service by which roles open what systemctl(1) asks PID 1 for.
pub const SERVICE_SYSTEMCTL: &str = "systemctl";

/// What polkit is asked, as its rule is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The action (polkit(8)).
    pub action: String,
    /// The login name that polkit has for the subject.
    pub subject: String,
    /// pkexec: the program; empty for every other action.
    pub program: String,
    /// pkexec: the user to become.
    pub target: String,
    /// pkexec: the whole command line.
    pub command_line: String,
    /// Whether that was cut.
    pub is_cut: bool,
    /// PID 1: what is to be done with the unit.
    pub verb: String,
    /// PID 1: the unit.
    pub unit: String,
}

/// Why some bytes are no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadQuestion {
    /// It begins otherwise.
    #[error("it does not begin as a question")]
    Magic,
    /// It has another number of fields, or a field that is too long or no UTF-8.
    #[error("its fields are not as agreed")]
    Fields,
}

impl Question {
    /// The bytes of a question. A field that cannot be sent makes none.
    ///
    /// # Errors
    /// When a field has a NUL in it, or is longer than [`MAX_FIELD_BYTES`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadQuestion> {
        let is_cut = if self.is_cut { "1" } else { "0" };
        let Self { action, subject, program, target, command_line, verb, unit, .. } = self;
        let fields: [&str; 8] = [action, subject, program, target, command_line, is_cut, verb, unit];
        let mut bytes = MAGIC.to_vec();
        for field in fields {
            if field.len() > MAX_FIELD_BYTES || field.contains('\0') {
                return Err(BadQuestion::Fields);
            }
            bytes.extend_from_slice(field.as_bytes());
            bytes.push(0);
        }
        Ok(bytes)
    }

    /// Reads what has come so far; `None` while a field is missing.
    ///
    /// # Errors
    /// When it is no question, whatever may still come.
    pub fn from_bytes(come: &[u8]) -> Result<Option<Self>, BadQuestion> {
        let begun = come.len().min(MAGIC.len());
        if come[..begun] != MAGIC[..begun] {
            return Err(BadQuestion::Magic);
        }
        let mut fields = come[begun..].split(|byte| *byte == 0);
        let ended = fields.next_back();
        let fields: Vec<&[u8]> = fields.collect();
        let field = |at: usize| -> Result<String, BadQuestion> {
            let text: &[u8] = fields.get(at).ok_or(BadQuestion::Fields)?;
            if text.len() > MAX_FIELD_BYTES {
                return Err(BadQuestion::Fields);
            }
            String::from_utf8(text.to_vec()).map_err(|_| BadQuestion::Fields)
        };
        match fields.len() {
            0..=7 if come.len() > MAX_QUESTION_BYTES => Err(BadQuestion::Fields),
            0..=7 => Ok(None),
            8 if ended.is_some_and(<[u8]>::is_empty) => Ok(Some(Self {
                action: field(0)?,
                subject: field(1)?,
                program: field(2)?,
                target: field(3)?,
                command_line: field(4)?,
                is_cut: field(5)? != "0",
                verb: field(6)?,
                unit: field(7)?,
            })),
            _ => Err(BadQuestion::Fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            action: "org.freedesktop.policykit.exec".to_owned(),
            subject: "alice".to_owned(),
            program: "/usr/bin/id".to_owned(),
            target: "root".to_owned(),
            command_line: "/usr/bin/id -u".to_owned(),
            is_cut: false,
            verb: String::new(),
            unit: String::new(),
        }
    }

    #[test]
    fn a_question_is_read_when_all_of_it_has_come() {
        let bytes = question().to_bytes().unwrap();
        for come in 0..bytes.len() {
            assert_eq!(Question::from_bytes(&bytes[..come]), Ok(None), "{come}");
        }
        assert_eq!(Question::from_bytes(&bytes), Ok(Some(question())));
        assert_eq!(Question::from_bytes(&[&bytes[..], b"x"].concat()), Err(BadQuestion::Fields));
        assert_eq!(Question::from_bytes(&[&bytes[..], b"\0"].concat()), Err(BadQuestion::Fields));
    }

    #[test]
    fn what_is_no_question_is_none() {
        let long = Question { unit: "u".repeat(MAX_FIELD_BYTES + 1), ..question() };
        assert_eq!(long.to_bytes(), Err(BadQuestion::Fields));
        assert_eq!(Question { verb: "a\0b".to_owned(), ..question() }.to_bytes(), Err(BadQuestion::Fields));
        assert_eq!(Question::from_bytes(b"GET / HTTP/1.1"), Err(BadQuestion::Magic));
        let endless = [MAGIC, &[b'x'; MAX_QUESTION_BYTES]].concat();
        assert_eq!(Question::from_bytes(&endless), Err(BadQuestion::Fields));
        let mut no_text = question().to_bytes().unwrap();
        no_text[MAGIC.len()] = 0xff;
        assert_eq!(Question::from_bytes(&no_text), Err(BadQuestion::Fields));
    }
}
