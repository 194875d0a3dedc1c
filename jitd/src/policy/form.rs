//! Checks a file against the table of settings, and finds every deviation in one pass.
//!
//! serde, with the types in `file`, would stop at the first deviation and describe it in the parser's terms. Here a
//! value that does not fit is reported and removed, so that the rest of the file is checked too.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::core::policy::{BadValue, DAEMON, Kind, ROLE, Setting, Standard, Value};

/// The keys of a table, in the order of the rows.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    name: &'static str,
    holds: Holds,
    required: bool,
}

#[derive(Debug)]
enum Holds {
    /// A value, with its row.
    Value(&'static Setting),
    /// A table with these keys.
    Table(Keys),
    /// A table with arbitrary keys, each a table with these keys.
    Tables(Keys),
}

/// `jitd.toml`.
pub(super) static SETTINGS: LazyLock<Keys> = LazyLock::new(|| Keys::of(DAEMON));

/// A file in `roles.d`.
pub(super) static ROLES: LazyLock<Keys> =
    LazyLock::new(|| Keys(vec![Key { name: "role", holds: Holds::Tables(Keys::of(ROLE)), required: false }]));

impl Keys {
    fn of(rows: &'static [Setting]) -> Self {
        let mut keys = Self(Vec::new());
        for row in rows {
            keys.put(row.key, row);
        }
        keys
    }

    fn put(&mut self, key: &'static str, row: &'static Setting) {
        let required = matches!(row.default, Standard::Required | Standard::RequiredInTable);
        let Some((name, rest)) = key.split_once('.') else {
            self.0.push(Key { name: key, holds: Holds::Value(row), required });
            return;
        };
        let at = self.0.iter().position(|key| key.name == name).unwrap_or_else(|| {
            self.0.push(Key { name, holds: Holds::Table(Self(Vec::new())), required: false });
            self.0.len() - 1
        });
        if let Some(Key { holds: Holds::Table(keys), required, .. }) = self.0.get_mut(at) {
            *required |= row.default == Standard::Required;
            keys.put(rest, row);
        }
    }

    fn names(&self) -> String {
        self.0.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
    }
}

/// A deviation: position, key, and a sentence.
#[derive(Debug)]
pub(super) struct Deviation {
    pub(super) span: Range<usize>,
    pub(super) key: String,
    pub(super) message: String,
}

/// The result of a check.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Every deviation, in the order of the file.
    pub(super) deviations: Vec<Deviation>,
    /// The valid values.
    pub(super) values: Values,
}

/// The valid values, by role, which is empty for `jitd.toml`, and by the key of their row.
pub(super) type Values = BTreeMap<String, BTreeMap<&'static str, WrittenValue>>;

/// A valid value.
#[derive(Debug)]
pub(super) struct WrittenValue {
    /// As TOML on one line.
    pub(super) written: String,
    /// The value, for simple kinds.
    pub(super) value: Option<Value>,
}

/// Finds every deviation from these keys, and removes invalid keys from the table. Missing keys are found before that:
/// an invalid key is not missing.
pub(super) fn check(table: &mut Spanned<DeTable<'_>>, keys: &'static Keys) -> Checked {
    let mut checked = Checked::default();
    let span = table.span();
    checked.table(table.get_mut(), span, keys, "", "");
    checked.deviations.sort_by_key(|deviation| deviation.span.start);
    checked
}

impl Checked {
    fn deviates(&mut self, span: Range<usize>, key: &str, message: String) {
        self.deviations.push(Deviation { span, key: key.to_owned(), message });
    }

    fn table(&mut self, table: &mut DeTable<'_>, span: Range<usize>, keys: &Keys, above: &str, role: &str) {
        let dotted = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        for key in keys.0.iter().filter(|key| key.required && !table.contains_key(key.name)) {
            let message = format!("required key is missing; it holds {}", key.holds.described());
            self.deviates(span.clone(), &dotted(key.name), message);
        }
        let mut unfit = Vec::new();
        for (name, value) in table.iter_mut() {
            let (at, name) = (name.span(), name.get_ref().as_ref());
            let fits = match keys.0.iter().find(|key| key.name == name) {
                Some(key) => self.value(value, at, key, &dotted(name), role),
                None => {
                    let message = format!("unknown field, expected one of {}", keys.names());
                    self.deviates(at, &dotted(name), message);
                    false
                }
            };
            if !fits {
                unfit.push(name.to_owned());
            }
        }
        for name in unfit {
            table.remove(name.as_str());
        }
    }

    /// Whether the value is valid; invalid parts are removed.
    fn value(
        &mut self,
        value: &mut Spanned<DeValue<'_>>,
        at: Range<usize>,
        key: &Key,
        dotted: &str,
        role: &str,
    ) -> bool {
        let span = value.span();
        match (&key.holds, value.get_mut()) {
            (Holds::Value(row), value) => match checked(row.kind, value) {
                Ok(value_of_row) => {
                    let found = WrittenValue { written: written(value), value: value_of_row };
                    self.values.entry(role.to_owned()).or_default().insert(row.key, found);
                    true
                }
                Err(Unfit::Type(message)) => {
                    self.deviates(at, dotted, message);
                    false
                }
                Err(Unfit::Value(message)) => {
                    self.deviates(span, dotted, message);
                    false
                }
            },
            (Holds::Table(keys), DeValue::Table(table)) => {
                self.table(table, span, keys, dotted, role);
                // serde cannot read a table without its required keys, except for tables whose absence the loader
                // reports.
                key.required || keys.0.iter().all(|key| !key.required || table.contains_key(key.name))
            }
            (Holds::Tables(keys), DeValue::Table(table)) => {
                let mut unfit = Vec::new();
                for (name, value) in table.iter_mut() {
                    let (at, name) = (name.span(), name.get_ref().clone().into_owned());
                    let (key, span) = (format!("{dotted}.{name}"), value.span());
                    match value.get_mut() {
                        DeValue::Table(table) => self.table(table, span, keys, &key, &name),
                        other => {
                            self.deviates(
                                at,
                                &key,
                                format!("it must be a table; this is {}", described(other)),
                            );
                            unfit.push(name);
                        }
                    }
                }
                for name in unfit {
                    table.remove(name.as_str());
                }
                true
            }
            (holds, other) => {
                self.deviates(at, dotted, must_be(&holds.described(), other));
                false
            }
        }
    }
}

impl Holds {
    fn described(&self) -> String {
        match self {
            Self::Value(row) => row.kind.described(),
            Self::Table(keys) => format!("a table with {}", keys.names()),
            Self::Tables(_) => "tables".to_owned(),
        }
    }
}

/// Why a value is invalid.
enum Unfit {
    /// It has another type.
    Type(String),
    /// It is out of the row's range.
    Value(String),
}

/// The checked value of a row, for simple kinds.
fn checked(kind: Kind, value: &DeValue<'_>) -> Result<Option<Value>, Unfit> {
    let refused = |bad: BadValue| Unfit::Value(bad.to_string());
    match (kind, value) {
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Some(Value::Flag(*flag))),
        (Kind::Texts(_), DeValue::Array(items)) if items.iter().all(|item| item.get_ref().is_str()) => {
            Ok(None)
        }
        (Kind::Texts(_), DeValue::Array(_)) => Err(Unfit::Type(format!("it must be {}", kind.described()))),
        (Kind::Number { .. }, DeValue::Integer(number)) => {
            match u32::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => kind.read_number(number).map_err(refused),
                Err(_) => Err(Unfit::Type(format!("it must be {}", kind.described()))),
            }
        }
        (Kind::Flag | Kind::Texts(_) | Kind::Number { .. }, other) => {
            Err(Unfit::Type(must_be(&kind.described(), other)))
        }
        (_, DeValue::String(text)) => kind.read_text(text).map_err(refused),
        (_, other) => Err(Unfit::Type(must_be(&kind.described(), other))),
    }
}

fn must_be(what: &str, value: &DeValue<'_>) -> String {
    format!("it must be {what}; this is {}", described(value))
}

/// A value as TOML, on one line.
fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => toml::Value::from(text.as_ref()).to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        other => described(other).to_owned(),
    }
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number without quotes",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
