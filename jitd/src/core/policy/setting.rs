//! What a row of the table of settings says, and what a value of each kind has to be.

use std::fmt;
use std::time::Duration;

use jit_proto::time::{format_duration, in_days, parse_keeping, parse_size, parse_span};

/// One key of `jitd.toml` or of a role.
#[derive(Debug)]
pub struct Setting {
    /// Its name, dotted where it stands in a table of its own.
    pub key: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What holds where it is left out.
    pub default: Standard,
    /// Paragraphs for the manual page. `word` is bold, and so is the name of a page before its section.
    pub doc: &'static str,
}

/// What holds where a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// This value, as TOML.
    Value(&'static str),
    /// What this sentence says.
    Words(&'static str),
    /// Nothing: the key has to be there.
    Required,
    /// Nothing: where the table of this key is, the key has to be there.
    RequiredInTable,
}

/// What a key holds. Bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text, of which this is an example.
    Text(&'static str),
    /// A list of texts, of which this is an example.
    Texts(&'static str),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A span of time.
    Duration {
        /// No span is shorter.
        min: Duration,
        /// No span is longer; [`parse_span`] takes none above a year.
        max: Duration,
    },
    /// A time to keep something, in days and longer units, or `forever`.
    Age {
        /// No time is shorter.
        min: Duration,
    },
    /// A size in bytes.
    Size {
        /// No size is lower.
        min: u64,
    },
    /// A whole number.
    Number {
        /// No number is lower.
        min: u32,
        /// No number is higher.
        max: u32,
    },
    /// `true` or `false`.
    Flag,
}

/// Why a value is refused, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is below the lower bound.
    #[error("{written} is too low; write {bounds}")]
    TooLow {
        /// The value.
        written: String,
        /// The bounds.
        bounds: String,
    },
    /// It is above the upper bound.
    #[error("{written} is too high; write {bounds}")]
    TooHigh {
        /// The value.
        written: String,
        /// The bounds.
        bounds: String,
    },
    /// It is none of the words.
    #[error("{written:?} is none of {words}")]
    NoChoice {
        /// The value.
        written: String,
        /// The words.
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
}

/// How long something is kept; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(pub Option<Duration>);

/// A type that a field of the table can have.
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

/// `None` where the key is left out.
impl<T: FieldValue> FieldValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        T::from_value(value).map(Some)
    }
}

impl Kind {
    /// Checks a text; the value, where it is of a simple kind.
    ///
    /// # Errors
    /// What is wrong with it.
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
            Self::Choice(words) if !words.contains(&written) => {
                let words = words.join(", ");
                Err(BadValue::NoChoice { written: written.to_owned(), words })
            }
            _ => Ok(None),
        }
    }

    /// Checks a number; the value.
    ///
    /// # Errors
    /// When it is out of bounds.
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

    /// What the key has to hold, for a sentence.
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

    /// The bounds, for the manual page; empty where there are none but those of the type.
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
