//! OpenAPI 3: an action for each operation, by its method and the path behind the server's.

use serde_json::{Map, Value};

use super::GenerateArgs;
use super::draft::Draft;

/// The methods that a path item has as fields.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The most operations that are looked at: so many actions a service can have.
const MAX_OPERATIONS: usize = 5_000;

/// So many references lead to a path item at most.
const MAX_REFERENCES: usize = 16;

/// Makes a draft of a document.
pub(super) fn read(bytes: &[u8], args: &GenerateArgs) -> Result<Draft, String> {
    let document = document(bytes)?;
    version(&document)?;
    let base = match &args.base_path {
        Some(base) => base.clone(),
        None => base_path(&document)?,
    };
    let base = base.trim_end_matches('/');
    let title = document.pointer("/info/title").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut draft = Draft::titled(title);
    let paths = document.get("paths").and_then(Value::as_object).ok_or("it has no `paths`")?;
    let mut operations = 0_usize;
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        let item = match resolved(&document, item) {
            Ok(item) => item,
            Err(why) => {
                draft.leave_out(path.as_str(), why);
                continue;
            }
        };
        if !path.starts_with('/') {
            draft.leave_out(path.as_str(), "a path begins with `/`");
            continue;
        }
        for (field, operation) in item {
            let Some(method) = METHODS.into_iter().find(|method| method == field) else {
                if matches!(field.as_str(), "query" | "additionalOperations") {
                    draft.leave_out(format!("{field} of {path}"), "only the methods of OpenAPI 3.1 are read");
                }
                continue;
            };
            operations = operations.saturating_add(1);
            if operations > MAX_OPERATIONS {
                return Err(format!("it has more than {MAX_OPERATIONS} operations\ngenerate from a part of it"));
            }
            add(&mut draft, (method, base, path), (item, operation), args);
        }
    }
    Ok(draft)
}

fn add(
    draft: &mut Draft,
    (method, base, path): (&str, &str, &str),
    (item, operation): (&Map<String, Value>, &Value),
    args: &GenerateArgs,
) {
    let method = method.to_uppercase();
    let what = format!("{method} {path}");
    let Some(operation) = operation.as_object() else {
        return draft.leave_out(what, "it is no operation");
    };
    let servers = operation.get("servers").or_else(|| item.get("servers"));
    let elsewhere = servers.filter(|_| args.base_path.is_none()).map(|servers| bases(servers).as_slice() != [base]);
    if elsewhere == Some(true) {
        return draft
            .leave_out(what, "it has servers of its own, at another path: generate it apart, with `--base-path`");
    }
    let text = |field: &str| operation.get(field).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let name = text("operationId").map_or_else(|| by_route(&method, path), str::to_owned);
    draft.http(&method, &format!("{base}{path}"), &name, text("summary").or_else(|| text("description")));
}

/// The name of an operation that has none: `GET /pets/{petId}/toys` is `get.pets.pet-id.toys`.
fn by_route(method: &str, path: &str) -> String {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let words = std::iter::once(method).chain(segments.map(|segment| segment.trim_matches(['{', '}'])));
    words.collect::<Vec<_>>().join(".")
}

fn document(bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text in UTF-8".to_owned())?;
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string())
}

fn version(document: &Value) -> Result<(), String> {
    match document.get("openapi").and_then(Value::as_str) {
        Some(version) if version.starts_with("3.") => Ok(()),
        Some(version) => {
            Err(format!("it is of OpenAPI `{}`, and 3 is read", version.chars().take(16).collect::<String>()))
        }
        None if document.get("swagger").is_some() => {
            Err("it is of Swagger 2\nconvert it to OpenAPI 3 first".to_owned())
        }
        None => Err("it does not say `openapi: 3...`".to_owned()),
    }
}

/// The path that every server has.
fn base_path(document: &Value) -> Result<String, String> {
    let mut bases = document.get("servers").map(bases).unwrap_or_default();
    match (bases.pop(), bases.is_empty()) {
        (None, _) => Ok(String::new()),
        (Some(base), true) => Ok(base),
        (Some(_), false) => {
            Err("its servers are at different paths\nsay with `--base-path` which one is meant".to_owned())
        }
    }
}

/// The paths of some servers, each once, with variables in their default values.
fn bases(servers: &Value) -> Vec<String> {
    let mut found: Vec<String> = servers.as_array().into_iter().flatten().map(base).collect();
    found.sort();
    found.dedup();
    found
}

fn base(server: &Value) -> String {
    let mut url = server.get("url").and_then(Value::as_str).unwrap_or_default().chars().take(2_048).collect::<String>();
    for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten().take(64) {
        let default = variable.get("default").and_then(Value::as_str).unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default).chars().take(2_048).collect();
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map(|(_, path)| format!("/{path}")).unwrap_or_default(),
        None => url,
    };
    path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/').to_owned()
}

/// A path item behind its references.
fn resolved<'d>(document: &'d Value, item: &'d Value) -> Result<&'d Map<String, Value>, String> {
    let mut item = item.as_object().ok_or("it is no path item")?;
    for _ in 0..MAX_REFERENCES {
        let Some(reference) = item.get("$ref") else { return Ok(item) };
        let reference = reference.as_str().unwrap_or_default();
        let shown: String = reference.chars().take(128).collect();
        let pointer = reference
            .strip_prefix('#')
            .ok_or_else(|| format!("`{shown}` is in another file: bundle the document into one first"))?;
        let found = document.pointer(pointer).and_then(Value::as_object);
        item = found.ok_or_else(|| format!("`{shown}` leads to no path item"))?;
    }
    Err("its references go in a circle".to_owned())
}
