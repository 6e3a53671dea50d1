//! From text to documents: splits files, reads each document by its kind, and turns the reader's errors into faults.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Location};

use super::{
    API_VERSION, BindingSpec, DefaultsSpec, DenyRuleSpec, Document, PolicyFault, RoleSpec, RuleSpec, ServiceSpec,
};

/// The largest policy file.
pub const MAX_POLICY_BYTES: usize = 1024 * 1024;

/// The kinds that there are.
const KINDS: [&str; 6] = ["Defaults", "Service", "Role", "Binding", "Rule", "DenyRule"];

/// A policy file: YAML (one or more documents) or JSON (one).
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Its name, for errors.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A document with the place of its file.
#[derive(Debug, Clone)]
pub(super) struct Placed<Spec> {
    pub(super) file: usize,
    pub(super) document: Document<Spec>,
}

/// Everything that was read, kind by kind.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    pub(super) files: Vec<PolicyFile>,
    pub(super) defaults: Vec<Placed<DefaultsSpec>>,
    pub(super) services: Vec<Placed<ServiceSpec>>,
    pub(super) roles: Vec<Placed<RoleSpec>>,
    pub(super) bindings: Vec<Placed<BindingSpec>>,
    pub(super) rules: Vec<Placed<RuleSpec>>,
    pub(super) denials: Vec<Placed<DenyRuleSpec>>,
}

/// Reads files.
///
/// # Errors
/// Every document that is malformed or has an unknown field or kind.
pub fn parse(files: &[PolicyFile]) -> Result<Documents, Vec<PolicyFault>> {
    let mut documents = Documents { files: files.to_vec(), ..Documents::default() };
    let mut faults = Vec::new();
    for (place, file) in files.iter().enumerate() {
        if file.text.len() > MAX_POLICY_BYTES {
            let message = format!("the file has {} bytes, more than {MAX_POLICY_BYTES}", file.text.len());
            faults.push(PolicyFault {
                file: file.name.clone(),
                line: 0,
                column: 0,
                message,
                help: Some("split it into several files".to_owned()),
            });
            continue;
        }
        for text in split(&file.text) {
            if let Err(fault) = documents.read(place, &text) {
                faults.push(PolicyFault { file: file.name.clone(), ..fault });
            }
        }
    }
    if faults.is_empty() { Ok(documents) } else { Err(faults) }
}

/// Each document of a file, behind as many line breaks as bring its lines to their own numbers.
/// A line that begins with `---` always separates documents, even within a block (YAML 1.2, section 9.1.2).
fn split(text: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut current = String::new();
    for (number, line) in text.lines().enumerate() {
        let separates =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '#']));
        if separates {
            documents.push(std::mem::replace(&mut current, "\n".repeat(number)));
            // What stands behind the separator on its line belongs to the new document.
            current.push_str("   ");
            current.push_str(line.get(3..).unwrap_or_default());
        } else {
            current.push_str(line);
        }
        current.push('\n');
    }
    documents.push(current);
    let says_something =
        |text: &String| text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    documents.retain(says_something);
    documents
}

/// What is read of a document before its kind is known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: serde_saphyr::Spanned<String>,
    kind: serde_saphyr::Spanned<String>,
}

impl Documents {
    fn read(&mut self, file: usize, text: &str) -> Result<(), PolicyFault> {
        let head: Head = serde_saphyr::from_str(text).map_err(|error| fault(&error))?;
        if head.api_version.value != API_VERSION {
            let message = format!("`{}` is not a version of policy documents", head.api_version.value);
            return Err(at(head.api_version.referenced, message, Some(format!("write `apiVersion: {API_VERSION}`"))));
        }
        match head.kind.value.as_str() {
            "Defaults" => self.defaults.push(placed(file, text)?),
            "Service" => self.services.push(placed(file, text)?),
            "Role" => self.roles.push(placed(file, text)?),
            "Binding" => self.bindings.push(placed(file, text)?),
            "Rule" => self.rules.push(placed(file, text)?),
            "DenyRule" => self.denials.push(placed(file, text)?),
            other => {
                let message = format!("`{other}` is not a kind of policy document");
                return Err(at(head.kind.referenced, message, Some(meant(other, &KINDS))));
            }
        }
        Ok(())
    }
}

fn placed<Spec: DeserializeOwned>(file: usize, text: &str) -> Result<Placed<Spec>, PolicyFault> {
    serde_saphyr::from_str(text).map(|document| Placed { file, document }).map_err(|error| fault(&error))
}

/// A fault at a place; the caller knows the file.
pub(super) fn at(location: Location, message: String, help: Option<String>) -> PolicyFault {
    PolicyFault { file: String::new(), line: location.line(), column: location.column(), message, help }
}

/// `did you mean …` if something is close, else the whole choice.
pub(super) fn meant<Name: AsRef<str>>(wrong: &str, known: &[Name]) -> String {
    let best = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.as_ref().to_lowercase()), name.as_ref()))
        .min();
    match best {
        Some((distance, name)) if distance <= 2.max(wrong.chars().count() / 3) => {
            format!("did you mean `{name}`?")
        }
        Some(_) => {
            let names: Vec<_> = known.iter().map(|name| format!("`{}`", name.as_ref())).collect();
            format!("known here: {}", names.join(", "))
        }
        None => "there are none here yet".to_owned(),
    }
}

fn fault(error: &Error) -> PolicyFault {
    let error = error.without_snippet();
    let location = error.location().unwrap_or(Location::UNKNOWN);
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            at(location, format!("unknown field `{field}`"), Some(meant(field, expected)))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => at(
            location,
            format!("`{variant}` is not one of the words that may stand here"),
            Some(meant(variant, expected)),
        ),
        other => {
            let (message, help) = in_plain_words(&other.to_string());
            at(location, message, help.map(str::to_owned))
        }
    }
}

/// The reader's message without its place, which the fault already has, and without the reader's own names.
fn in_plain_words(text: &str) -> (String, Option<&'static str>) {
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or_default();
    let text = text.split(", set ").next().unwrap_or_default();
    match text {
        "invalid u32" => ("not a whole number".to_owned(), Some("write a number like `1`")),
        text if text.starts_with("cannot deserialize null") => ("a value is missing here".to_owned(), None),
        text if text.starts_with("recursion limit") => ("the document is nested too deeply".to_owned(), None),
        text => (text.to_owned(), None),
    }
}
