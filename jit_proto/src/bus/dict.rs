//! Converts views to and from D-Bus `a{sv}` through their JSON: unsigned numbers are `t`, texts `s`, booleans `b`,
//! lists of texts `as`, lists of unsigned numbers `at`, lists of objects `aa{sv}`, objects `a{sv}`.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use zbus::{OwnedVariant, Variant};

/// A view on the bus.
pub type Dict = HashMap<String, OwnedVariant>;

/// Why a view cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum DictError {
    /// It is not the JSON of a view.
    #[error("not the form of a view: {0}")]
    Json(#[from] serde_json::Error),
    /// A value of a type that views do not have.
    #[error("key {key}: a value of type {signature} has no place in a view")]
    Variant {
        /// Its key.
        key: String,
        /// Its D-Bus signature, or its JSON kind.
        signature: String,
    },
    /// zbus returned an error.
    #[error("not a D-Bus value: {0}")]
    Bus(#[from] zbus::Error),
}

/// Writes a view as a dictionary.
///
/// # Errors
/// When the view has values other than texts, unsigned numbers, booleans, and lists and objects of these.
pub fn to_dict<T: Serialize>(view: &T) -> Result<Dict, DictError> {
    object_to_dict(serde_json::to_value(view)?)
}

/// Writes several views.
///
/// # Errors
/// As [`to_dict`].
pub fn to_dicts<T: Serialize>(views: &[T]) -> Result<Vec<Dict>, DictError> {
    views.iter().map(to_dict).collect()
}

/// Reads a view from a dictionary.
///
/// # Errors
/// When a key is missing or of the wrong kind.
pub fn from_dict<T: DeserializeOwned>(dict: Dict) -> Result<T, DictError> {
    Ok(serde_json::from_value(dict_to_object(dict)?)?)
}

fn object_to_dict(json: Json) -> Result<Dict, DictError> {
    let Json::Object(map) = json else {
        return Err(DictError::Variant { key: String::new(), signature: "not an object".into() });
    };
    map.into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| {
            let value = json_to_value(&key, value)?;
            Ok((key, OwnedVariant::try_from(value)?))
        })
        .collect()
}

fn json_to_value(key: &str, json: Json) -> Result<Variant<'static>, DictError> {
    let unfit = |signature: &str| DictError::Variant { key: key.to_owned(), signature: signature.to_owned() };
    Ok(match json {
        Json::Bool(truth) => Variant::from(truth),
        Json::String(text) => Variant::from(text),
        Json::Number(number) => {
            Variant::from(number.as_u64().ok_or_else(|| unfit("negative or broken number"))?)
        }
        Json::Array(items) if items.iter().all(Json::is_string) => {
            let texts: Vec<String> =
                items.into_iter().filter_map(|t| t.as_str().map(str::to_owned)).collect();
            Variant::from(texts)
        }
        Json::Array(items) if items.iter().all(Json::is_u64) => {
            let numbers: Vec<u64> = items.iter().filter_map(Json::as_u64).collect();
            Variant::from(numbers)
        }
        Json::Array(items) => {
            let dicts: Vec<Dict> = items.into_iter().map(object_to_dict).collect::<Result<_, _>>()?;
            Variant::from(dicts)
        }
        Json::Object(_) => Variant::from(object_to_dict(json)?),
        Json::Null => return Err(unfit("null")),
    })
}

fn dict_to_object(dict: Dict) -> Result<Json, DictError> {
    let map = dict
        .into_iter()
        .map(|(key, value)| Ok((key.clone(), value_to_json(&key, &value)?)))
        .collect::<Result<serde_json::Map<_, _>, DictError>>()?;
    Ok(Json::Object(map))
}

fn value_to_json(key: &str, value: &Variant<'_>) -> Result<Json, DictError> {
    Ok(match value {
        Variant::Bool(truth) => Json::Bool(*truth),
        Variant::Str(text) => Json::String(text.as_str().to_owned()),
        Variant::U64(number) => Json::from(*number),
        Variant::U32(number) => Json::from(*number),
        Variant::Array(array) => {
            Json::Array(array.iter().map(|item| value_to_json(key, item)).collect::<Result<_, _>>()?)
        }
        Variant::Dict(_) => dict_to_object(Dict::try_from(OwnedVariant::try_from(value.try_clone()?)?)?)?,
        Variant::Variant(inner) => value_to_json(key, inner)?,
        other => {
            return Err(DictError::Variant {
                key: key.to_owned(),
                signature: other.value_signature().to_string(),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::view::{ApprovalView, RecordView, RequestView};
    use proptest::prelude::*;

    fn request(text: &str, number: u64, approvals: usize) -> RequestView {
        RequestView {
            id: number,
            state: "pending".into(),
            role: "web-admin".into(),
            user: text.into(),
            uid: 1000,
            reason: text.into(),
            ticket: String::new(),
            duration_seconds: 1800,
            requested_at: number,
            expires_at: u64::MAX,
            approvals: (0..approvals)
                .map(|n| ApprovalView {
                    user: text.into(),
                    uid: n as u32,
                    comment: text.into(),
                    given_at: number,
                })
                .collect(),
            approvals_needed: 1,
            extends: 0,
            denied_by: String::new(),
            denial_reason: String::new(),
            may_approve: true,
            approvers: vec!["@leads".into()],
            approving_people: vec!["bob".into()],
        }
    }

    #[test]
    fn lists_of_numbers_stay_numbers() {
        let view = serde_json::json!({ "spans": [300, 60], "none": [], "names": ["a"] });
        let back: Json = from_dict(to_dict(&view).unwrap()).unwrap();
        assert_eq!(back, view);
        assert!(to_dict(&serde_json::json!({ "mixed": [1, "a"] })).is_err());
    }

    proptest! {
        #[test]
        fn a_view_comes_back_as_it_went(text in "[^\\x00]*", number: u64, approvals in 0usize..4) {
            let view = request(&text, number, approvals);
            let back: RequestView = from_dict(to_dict(&view).unwrap()).unwrap();
            prop_assert_eq!(back, view);
        }
    }

    #[test]
    fn numbers_are_t_and_a_missing_key_is_an_error() {
        let mut dict =
            to_dict(&RecordView { seq: 7, hash: "h".into(), seal: String::new(), line: "{}".into() })
                .unwrap();
        assert_eq!(dict["seq"].value_signature().to_string(), "t");
        dict.remove("hash");
        assert!(from_dict::<RecordView>(dict).is_err());
    }
}
