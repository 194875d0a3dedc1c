//! A row of the table of settings, and the check of a value by its kind.

use std::fmt;
use std::time::Duration;

use jit_proto::time::{format_duration, in_days, parse_keeping, parse_size, parse_span};

/// One key of `jitd.toml` or of a role.
#[derive(Debug)]
pub struct Setting {
    /// Its name, dotted below a table.
    pub key: &'static str,
    /// The kind of value.
    pub kind: Kind,
    /// The default.
    pub default: Standard,
    /// Paragraphs for the manual page. `word` is bold, and so is the name of a page before its section.
    pub doc: &'static str,
}

/// The default of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// A value, as TOML.
    Value(&'static str),
    /// A default that only a sentence can describe.
    Words(&'static str),
    /// None: the key is required.
    Required,
    /// None: the key is required if its table is present.
    RequiredInTable,
}

/// The kind of value of a key. Bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text; with an example.
    Text(&'static str),
    /// A list of texts; with an example.
    Texts(&'static str),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A span of time.
    Duration {
        /// The shortest span.
        min: Duration,
        /// The longest span; [`parse_span`] accepts none above a year.
        max: Duration,
    },
    /// A time to keep something, in days and longer units, or `forever`.
    Age {
        /// The shortest time.
        min: Duration,
    },
    /// A size in bytes.
    Size {
        /// The smallest size.
        min: u64,
    },
    /// A whole number.
    Number {
        /// The smallest number.
        min: u32,
        /// The largest number.
        max: u32,
    },
    /// `true` or `false`.
    Flag,
}

/// Why a value is refused, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// It cannot be parsed.
    #[error("{0}")]
    Unreadable(String),
    /// It is below the lower bound.
    #[error("{written} is too low; write {bounds}")]
    TooLow {
        /// The value as written.
        written: String,
        /// The allowed range.
        bounds: String,
    },
    /// It is above the upper bound.
    #[error("{written} is too high; write {bounds}")]
    TooHigh {
        /// The value as written.
        written: String,
        /// The allowed range.
        bounds: String,
    },
    /// It is not one of the words.
    #[error("{written:?} is none of {words}")]
    NoChoice {
        /// The value as written.
        written: String,
        /// The allowed words.
        words: String,
    },
}

/// A value of a simple kind, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Number`].
    Number(u32),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::Age`].
    Age(Age),
    /// Of [`Kind::Size`], in bytes.
    Size(u64),
    /// Of [`Kind::Choice`]: one of its texts.
    Word(&'static str),
}

/// `mode`: what becomes of a call that is denied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is denied.
    #[default]
    Enforce,
    /// It is recorded and passes.
    Observe,
}

impl Mode {
    /// The texts of the setting.
    pub(super) const WORDS: &[&str] = &["enforce", "observe"];
}

/// How long records are kept; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(pub Option<Duration>);

/// A type of a field that a row fills.
pub(super) trait FieldValue: Sized {
    /// The value, if it is of this type.
    fn from_value(value: Value) -> Option<Self>;
}

impl FieldValue for bool {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Flag(flag) = value { Some(flag) } else { None }
    }
}

impl FieldValue for u32 {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Number(number) = value { Some(number) } else { None }
    }
}

impl FieldValue for Duration {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Duration(span) = value { Some(span) } else { None }
    }
}

impl FieldValue for Age {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Age(age) = value { Some(age) } else { None }
    }
}

impl FieldValue for u64 {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Size(bytes) = value { Some(bytes) } else { None }
    }
}

impl FieldValue for Mode {
    fn from_value(value: Value) -> Option<Self> {
        // Whatever is not this one text enforces.
        let Value::Word(word) = value else { return None };
        Some(if word == "observe" { Self::Observe } else { Self::Enforce })
    }
}

/// `None` where the key is left out.
impl<T: FieldValue> FieldValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        T::from_value(value).map(Some)
    }
}

impl Kind {
    /// Checks a text; returns the value, for simple kinds.
    ///
    /// # Errors
    /// A sentence about the problem.
    pub fn read_text(self, written: &str) -> Result<Option<Value>, BadValue> {
        match self {
            Self::Duration { min, max } => {
                let span = parse_span(written).map_err(BadValue::Unreadable)?;
                self.within(span, min, max, format_duration)?;
                Ok(Some(Value::Duration(span)))
            }
            Self::Age { .. } if written == "forever" => Ok(Some(Value::Age(Age(None)))),
            Self::Age { min } => {
                let age = parse_keeping(written).map_err(BadValue::Unreadable)?;
                self.within(age, min, Duration::MAX, in_days)?;
                Ok(Some(Value::Age(Age(Some(age)))))
            }
            Self::Size { min } => {
                let size = parse_size(written).map_err(BadValue::Unreadable)?;
                if size < min {
                    return Err(BadValue::TooLow { written: format!("{written:?}"), bounds: self.bounds() });
                }
                Ok(Some(Value::Size(size)))
            }
            Self::Choice(words) => match words.iter().find(|word| **word == written) {
                Some(word) => Ok(Some(Value::Word(word))),
                None => Err(BadValue::NoChoice { written: written.to_owned(), words: words.join(", ") }),
            },
            _ => Ok(None),
        }
    }

    /// Checks a number; returns the value.
    ///
    /// # Errors
    /// If the number is out of range.
    pub fn read_number(self, number: u32) -> Result<Option<Value>, BadValue> {
        match self {
            Self::Number { min, max } => {
                self.within(number, min, max, |number| number.to_string())?;
                Ok(Some(Value::Number(number)))
            }
            _ => Ok(None),
        }
    }

    fn within<T: PartialOrd + Copy>(
        self,
        value: T,
        min: T,
        max: T,
        shown: impl Fn(T) -> String,
    ) -> Result<(), BadValue> {
        if value < min {
            return Err(BadValue::TooLow { written: shown(value), bounds: self.bounds() });
        }
        if value > max {
            return Err(BadValue::TooHigh { written: shown(value), bounds: self.bounds() });
        }
        Ok(())
    }

    /// What the key holds, for a sentence.
    #[must_use]
    pub fn described(self) -> String {
        match self {
            Self::Text(example) => format!("a text in quotes such as {example}"),
            Self::Texts(example) => format!("a list of texts such as {example}"),
            Self::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                words.join(" or ")
            }
            Self::Duration { .. } => "a text in quotes such as \"30m\"".to_owned(),
            Self::Age { .. } => "a text in quotes such as \"6y\"".to_owned(),
            Self::Size { .. } => "a text in quotes such as \"512M\"".to_owned(),
            Self::Number { .. } => "a whole number such as 10".to_owned(),
            Self::Flag => "true or false, without quotes".to_owned(),
        }
    }

    /// The range, for the manual page; empty where only the type limits it.
    #[must_use]
    pub fn bounds(self) -> String {
        match self {
            Self::Number { min: 0, max: u32::MAX } => String::new(),
            Self::Number { min: 0, max } => format!("at most {max}"),
            Self::Number { min, max: u32::MAX } => format!("at least {min}"),
            Self::Number { min, max } => format!("from {min} to {max}"),
            Self::Duration { min: Duration::ZERO, max: Duration::MAX } => String::new(),
            Self::Duration { min, max: Duration::MAX } => format!("at least {}", format_duration(min)),
            Self::Duration { min: Duration::ZERO, max } => format!("at most {}", format_duration(max)),
            Self::Duration { min, max } => {
                format!("from {} to {}", format_duration(min), format_duration(max))
            }
            Self::Age { min } => format!("at least {}", in_days(min)),
            Self::Size { min } => format!("at least {}", size_text(min)),
            Self::Text(_) | Self::Texts(_) | Self::Choice(_) | Self::Flag => String::new(),
        }
    }
}

fn size_text(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{}M", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}K", bytes >> 10),
        _ => bytes.to_string(),
    }
}

impl Standard {
    /// The value as TOML, or the sentence; empty where there is none.
    #[must_use]
    pub fn value(self) -> &'static str {
        match self {
            Self::Value(text) | Self::Words(text) => text,
            Self::Required | Self::RequiredInTable => "",
        }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "default {value}"),
            Self::Words(words) => write!(f, "default: {words}"),
            Self::Required => f.write_str("required"),
            Self::RequiredInTable => f.write_str("required in this table"),
        }
    }
}
