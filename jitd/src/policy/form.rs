//! Which keys each table of the files has, and of which type: every deviation is found in one pass.
//!
//! `file` says the same to serde, which stops at the first deviation and names it in the parser's words. Here a value
//! that does not fit is named and taken out, so that the rest of the file is checked in the same round.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a key holds.
#[derive(Debug, Clone, Copy)]
enum Type {
    /// A text, of which this is an example.
    Text(&'static str),
    /// A list of texts, of which this is an example.
    Texts(&'static str),
    /// A whole number that is not negative, of which this is an example.
    Number(&'static str),
    /// `true` or `false`.
    Flag,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table with any keys, each of which holds a table with these keys.
    Tables(&'static [Key]),
}

/// A key of a table.
#[derive(Debug)]
pub(super) struct Key {
    name: &'static str,
    holds: Type,
    required: bool,
}

const fn key(name: &'static str, holds: Type) -> Key {
    Key { name, holds, required: false }
}

const fn required(name: &'static str, holds: Type) -> Key {
    Key { name, holds, required: true }
}

const SPAN: Type = Type::Text("\"30m\"");
const PEOPLE: Type = Type::Texts("[\"alice\", \"@webops\"]");
const PATHS: Type = Type::Texts("[\"/usr\", \"/opt\"]");

/// `jitd.toml`.
pub(super) const SETTINGS: &[Key] = &[
    key("max_duration", SPAN),
    key("request_expiry", SPAN),
    key("grace", SPAN),
    key("warn_before", Type::Texts("[\"5m\", \"1m\"]")),
    key("operators", PEOPLE),
    key("auditors", PEOPLE),
    key("approve_without_login", Type::Flag),
    key("approve_as_another_account", Type::Flag),
    key("syslog_enterprise", Type::Number("32473")),
    key("syslog_socket", Type::Text("\"/dev/log\"")),
    key("journal", Type::Flag),
    key("json_lines", Type::Flag),
    key("json_lines_max_size", Type::Text("\"64M\"")),
    key("json_lines_keep", Type::Number("8")),
    key("heartbeat", SPAN),
    key("require_forwarding_within", SPAN),
    key("setuid_paths", PATHS),
    key("retention", Type::Text("\"6y\"")),
    key("retention_size", Type::Text("\"512M\"")),
    key("archive", Type::Text("\"/var/lib/jitd/archive\"")),
    key(
        "alerts",
        Type::Table(&[
            key("off", Type::Texts("[\"first-use\"]")),
            key("repeat_after", SPAN),
            key("denials", Type::Table(&[key("count", Type::Number("5")), key("within", SPAN)])),
            key(
                "outside_hours",
                Type::Table(&[
                    key("days", Type::Texts("[\"mon\", \"tue\"]")),
                    required("from", Type::Text("\"07:00\"")),
                    required("to", Type::Text("\"19:00\"")),
                    key("time_zone", Type::Text("\"Europe/Berlin\"")),
                ]),
            ),
            key(
                "spike",
                Type::Table(&[key("factor", Type::Number("3")), key("at_least", Type::Number("20"))]),
            ),
        ]),
    ),
    key(
        "notify",
        Type::Table(&[
            key("exec", Type::Text("\"/usr/libexec/jitd-webhook\"")),
            key("mail", Type::Texts("[\"ops@example.org\", \"{approvers}\"]")),
            key("sendmail", Type::Text("\"/usr/sbin/sendmail\"")),
            key("user", Type::Text("\"jit-notify\"")),
            key("about", Type::Texts("[\"request\", \"alert\"]")),
            key("timeout", SPAN),
        ]),
    ),
];

/// A file in `roles.d`.
pub(super) const ROLES: &[Key] = &[key(
    "role",
    Type::Tables(&[
        key("description", Type::Text("\"Look after the web tier\"")),
        required("members", PEOPLE),
        key("run_as", Type::Texts("[\"root\"]")),
        key("run_as_groups", Type::Texts("[\"adm\"]")),
        key("services", Type::Texts("[\"sudo\", \"sudo-i\"]")),
        key("default_duration", SPAN),
        key("max_duration", SPAN),
        key("reason", Type::Table(&[key("min_length", Type::Number("10"))])),
        key(
            "ticket",
            Type::Table(&[key("required", Type::Flag), key("pattern", Type::Text("\"^INC-[0-9]+$\""))]),
        ),
        key("unused_for", SPAN),
        key("idle_timeout", SPAN),
        key("end_with_login", Type::Flag),
        key("without_forwarding", Type::Flag),
        key("on_expiry", Type::Text("\"terminate\"")),
        key("on_expiry_limit", SPAN),
        required("approval", Type::Table(&[required("from", PEOPLE), key("count", Type::Number("1"))])),
    ]),
)];

/// A deviation: where, at which key, and a sentence.
#[derive(Debug)]
pub(super) struct Deviation {
    pub(super) span: Range<usize>,
    pub(super) key: String,
    pub(super) message: String,
}

/// Finds every deviation from these keys. Keys that do not fit are taken out of the table. Whether what is required is
/// missing is judged before that: what does not fit is there.
pub(super) fn check(table: &mut Spanned<DeTable<'_>>, keys: &'static [Key]) -> Vec<Deviation> {
    let mut found = Vec::new();
    let span = table.span();
    table_of(table.get_mut(), span, keys, "", &mut found);
    found.sort_by_key(|deviation| deviation.span.start);
    found
}

fn table_of(
    table: &mut DeTable<'_>,
    span: Range<usize>,
    keys: &'static [Key],
    above: &str,
    found: &mut Vec<Deviation>,
) {
    let dotted = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
    for key in keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
        let message = format!("it is missing; it holds {}", key.holds.described());
        found.push(Deviation { span: span.clone(), key: dotted(key.name), message });
    }
    let mut unfit = Vec::new();
    for (name, value) in table.iter_mut() {
        let (at, name) = (name.span(), name.get_ref().as_ref());
        let fits = match keys.iter().find(|key| key.name == name) {
            Some(key) => value_of(value, at, key.holds, &dotted(name), found),
            None => {
                let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                let message = format!("unknown field, expected one of {}", names.join(", "));
                found.push(Deviation { span: at, key: dotted(name), message });
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

/// Whether the value fits; what does not fit inside of it is taken out.
fn value_of(
    value: &mut Spanned<DeValue<'_>>,
    at: Range<usize>,
    holds: Type,
    key: &str,
    found: &mut Vec<Deviation>,
) -> bool {
    let span = value.span();
    let fits = match (holds, value.get_mut()) {
        (Type::Text(_), DeValue::String(_)) | (Type::Flag, DeValue::Boolean(_)) => true,
        (Type::Texts(_), DeValue::Array(items)) => items.iter().all(|item| item.get_ref().is_str()),
        (Type::Number(_), DeValue::Integer(number)) => {
            u32::from_str_radix(number.as_str(), number.radix()).is_ok()
        }
        (Type::Table(keys), DeValue::Table(table)) => {
            table_of(table, span, keys, key, found);
            // Without what it must have it cannot be read.
            keys.iter().all(|key| !key.required || table.contains_key(key.name))
                || matches!(key.rsplit('.').next(), Some("approval"))
        }
        (Type::Tables(keys), DeValue::Table(table)) => {
            let mut unfit = Vec::new();
            for (name, value) in table.iter_mut() {
                let key = format!("{key}.{}", name.get_ref());
                let span = value.span();
                match value.get_mut() {
                    DeValue::Table(table) => table_of(table, span, keys, &key, found),
                    other => {
                        let message = format!("it must be a table; this is {}", described(other));
                        found.push(Deviation { span: name.span(), key, message });
                        unfit.push(name.get_ref().clone().into_owned());
                    }
                }
            }
            for name in unfit {
                table.remove(name.as_str());
            }
            true
        }
        (_, other) => {
            let message = format!("it must be {}; this is {}", holds.described(), described(other));
            found.push(Deviation { span: at, key: key.to_owned(), message });
            return false;
        }
    };
    if !fits && !matches!(holds, Type::Table(_)) {
        let message = format!("it must be {}", holds.described());
        found.push(Deviation { span: at, key: key.to_owned(), message });
    }
    fits
}

impl Type {
    fn described(self) -> String {
        match self {
            Self::Text(example) => format!("a text in quotes such as {example}"),
            Self::Texts(example) => format!("a list of texts such as {example}"),
            Self::Number(example) => format!("a whole number such as {example}"),
            Self::Flag => "true or false, without quotes".to_owned(),
            Self::Table(keys) => {
                let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                format!("a table with {}", names.join(", "))
            }
            Self::Tables(_) => "tables".to_owned(),
        }
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
