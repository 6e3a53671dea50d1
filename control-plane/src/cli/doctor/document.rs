//! From text to a tree: JSON, or YAML of several documents. Protobuf's JSON spells a field in two ways, so every field
//! is asked for by its snake_case name and found under both.

use serde_json::Value;

/// How deep a document is looked into.
const MAX_DEPTH: usize = 128;

/// Why a text is not a configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("it is neither JSON nor YAML: {0}")]
    Syntax(String),
    #[error("it is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
}

/// Reads a text; several documents become one list.
pub(super) fn parse(text: &str) -> Result<Value, DocumentError> {
    let document = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(_) if text.trim_start().starts_with('{') && text.contains("\"configs\"") => {
            // A dump: the JSON reader's words say more than the YAML reader's.
            let error = serde_json::from_str::<Value>(text).err().map(|error| error.to_string());
            return Err(DocumentError::Syntax(error.unwrap_or_default()));
        }
        Err(_) => {
            let documents: Vec<Value> = serde_saphyr::from_multiple(text)
                .map_err(|error| DocumentError::Syntax(in_plain_words(&error.without_snippet().to_string())))?;
            Value::Array(documents)
        }
    };
    if is_deeper(&document, MAX_DEPTH) { Err(DocumentError::TooDeep) } else { Ok(document) }
}

/// The reader's message without what it tells programmers.
fn in_plain_words(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match (line.split_once(", set "), line.rsplit_once(" at line ")) {
        (Some((message, _)), Some((_, place))) => format!("{message} at line {place}"),
        _ => line.to_owned(),
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper(item, left)),
        Value::Object(fields) => fields.values().any(|field| is_deeper(field, left)),
        _ => false,
    }
}

/// A field by its snake_case name, also where it is written in camelCase.
pub(super) fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.get(name).or_else(|| value.get(camel(name))).filter(|found| !found.is_null())
}

/// A field of a field.
pub(super) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| field(value, name))
}

/// A list; a missing one is empty.
pub(super) fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    field(value, name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text; nothing if it is missing or no text.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    field(value, name).and_then(Value::as_str)
}

/// Whether a switch is on. Protobuf's JSON has wrapped ones, too.
pub(super) fn is_on(value: &Value, name: &str) -> bool {
    field(value, name).is_some_and(|found| found == &Value::Bool(true) || found.as_str() == Some("true"))
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        out.extend(letters);
    }
    out
}

/// Every object of the tree with its place, from the outside to the inside.
pub(super) fn walk<'v>(value: &'v Value, place: &str, visit: &mut impl FnMut(&'v Value, &str)) {
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(item, &format!("{place}/{at}"), visit);
            }
        }
        Value::Object(fields) => {
            visit(value, place);
            for (name, inner) in fields {
                walk(inner, &format!("{place}/{name}"), visit);
            }
        }
        _ => {}
    }
}
