//! OpenAPI 3: an action for each operation, by its method and the path behind the server's.

use serde_json::{Map, Value};

use super::draft::Draft;
use super::{GenerateArgs, MAX_OPERATIONS};

/// The methods that a path item has as fields.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The most servers, and the longest URL of one.
const MAX_SERVERS: usize = 1_000;
const MAX_URL: usize = 2_048;

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
    match servers.filter(|_| args.base_path.is_none()).map(bases) {
        Some(Ok(bases)) if bases.as_slice() != [base] => {
            return draft
                .leave_out(what, "it has servers of its own, at another path: generate it apart, with `--base-path`");
        }
        Some(Err(why)) => return draft.leave_out(what, why),
        Some(Ok(_)) | None => {}
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
    let mut bases = document.get("servers").map(bases).transpose()?.unwrap_or_default();
    match (bases.pop(), bases.is_empty()) {
        (None, _) => Ok(String::new()),
        (Some(base), true) => Ok(base),
        (Some(_), false) => {
            Err("its servers are at different paths\nsay with `--base-path` which one is meant".to_owned())
        }
    }
}

/// The paths of some servers, each once.
fn bases(servers: &Value) -> Result<Vec<String>, String> {
    let servers = servers.as_array().map(Vec::as_slice).unwrap_or_default();
    if servers.len() > MAX_SERVERS {
        return Err(format!("it has more than {MAX_SERVERS} servers\nsay with `--base-path` which path is meant"));
    }
    let mut found = servers.iter().map(base).collect::<Result<Vec<_>, _>>()?;
    found.sort();
    found.dedup();
    Ok(found)
}

/// The path of a server, with variables in their default values; refused where it may be another one.
fn base(server: &Value) -> Result<String, String> {
    const HELP: &str = "say with `--base-path` which path is meant";
    let url =
        server.get("url").and_then(Value::as_str).ok_or_else(|| format!("a server of it has no `url`\n{HELP}"))?;
    let shown: String = url.chars().take(128).collect();
    if url.len() > MAX_URL {
        return Err(format!("its server `{shown}…` has more than {MAX_URL} bytes\n{HELP}"));
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map(|(_, path)| format!("/{path}")).unwrap_or_default(),
        None => url.to_owned(),
    };
    let mut base = String::new();
    let mut rest = path.split(['?', '#']).next().unwrap_or_default();
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}').ok_or_else(|| format!("its server `{shown}` is no URL\n{HELP}"))?;
        let variable = server.get("variables").and_then(|variables| variables.get(name));
        let default = variable.and_then(|variable| variable.get("default")).and_then(Value::as_str);
        let default =
            default.ok_or_else(|| format!("the variable `{name}` of its server `{shown}` has no `default`\n{HELP}"))?;
        let others = variable.and_then(|variable| variable.get("enum")).and_then(Value::as_array);
        if others.is_some_and(|others| others.iter().any(|other| other.as_str() != Some(default))) {
            return Err(format!("its server `{shown}` is at different paths, as `{name}` says\n{HELP}"));
        }
        base.push_str(before);
        base.push_str(default);
        if base.len() > MAX_URL {
            return Err(format!("the path of its server `{shown}` has more than {MAX_URL} bytes\n{HELP}"));
        }
        rest = behind;
    }
    base.push_str(rest);
    let base = base.trim_end_matches('/').to_owned();
    if !base.is_empty() && !base.starts_with('/') {
        return Err(format!("its server `{shown}` is relative to where the document is served from\n{HELP}"));
    }
    Ok(base)
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
