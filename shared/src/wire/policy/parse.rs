//! From text to documents: splits files, reads each document by its kind, and turns the reader's errors into faults.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Location};

use super::tolerant::{Unknown, unknown_fields};
use super::{
    API_VERSION, BindingSpec, BreakGlassSpec, DefaultsSpec, DenyRuleSpec, Document, GroupSpec, PersonSpec, PolicyFault,
    RoleSpec, RuleSpec, ServiceSpec,
};

/// The largest policy file.
pub const MAX_POLICY_BYTES: usize = 1024 * 1024;

/// The most bytes of a whole policy.
pub const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;

/// The most documents of a whole policy.
pub const MAX_DOCUMENTS: usize = 50_000;

/// So many faults are told; whoever has more mends these first.
pub const MAX_FAULTS: usize = 1_000;

/// Longer names are not compared with others, and of more names not all are.
const MAX_COMPARED_NAME: usize = 64;
const MAX_COMPARED: usize = 1_000;

/// So many names are listed where none is close.
const MAX_LISTED: usize = 32;

/// The kinds that there are.
pub(super) const KINDS: [&str; 9] =
    ["Defaults", "Service", "Role", "Binding", "Rule", "DenyRule", "BreakGlass", "Person", "Group"];

/// A policy file: YAML (one or more documents) or JSON (one).
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Its name, for errors.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Where a document stands.
#[derive(Debug, Clone, Copy)]
struct Piece {
    file: usize,
    /// Lines of the file before it.
    before: u64,
}

/// A document with its place among all documents.
#[derive(Debug, Clone)]
pub(super) struct Placed<Spec> {
    /// Names the [`Piece`], and so the file and line that its locations begin at.
    pub(super) file: usize,
    pub(super) document: Document<Spec>,
}

/// Everything that was read, kind by kind.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    files: Vec<PolicyFile>,
    pieces: Vec<Piece>,
    /// Kinds of documents that could not be read; all of them if it is not known which.
    unread: BTreeSet<&'static str>,
    pub(super) defaults: Vec<Placed<DefaultsSpec>>,
    pub(super) services: Vec<Placed<ServiceSpec>>,
    pub(super) roles: Vec<Placed<RoleSpec>>,
    pub(super) bindings: Vec<Placed<BindingSpec>>,
    pub(super) rules: Vec<Placed<RuleSpec>>,
    pub(super) denials: Vec<Placed<DenyRuleSpec>>,
    pub(super) break_glass: Vec<Placed<BreakGlassSpec>>,
    pub(super) people: Vec<Placed<PersonSpec>>,
    pub(super) groups: Vec<Placed<GroupSpec>>,
}

impl Documents {
    /// Whether there may be more documents of a kind, which could not be read.
    pub(super) fn may_have(&self, kind: &str) -> bool {
        self.unread.contains(kind)
    }

    /// The issuer whose users and groups the policy names; nothing if it names none.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.defaults.last().map(|placed| placed.document.spec.issuer.value.as_str())
    }
}

/// Reads files.
///
/// # Errors
/// Every document that is malformed or has an unknown field or kind.
pub fn parse(files: &[PolicyFile]) -> Result<Documents, Vec<PolicyFault>> {
    let (documents, faults) = read_all(files);
    if faults.is_empty() { Ok(documents) } else { Err(faults) }
}

/// Reads files: the documents that can be read, and the faults of the others.
pub(super) fn read_all(files: &[PolicyFile]) -> (Documents, Vec<PolicyFault>) {
    let mut documents = Documents { files: files.to_vec(), ..Documents::default() };
    let mut faults = Vec::new();
    let total = files.iter().map(|file| file.text.len()).fold(0, usize::saturating_add);
    if total > MAX_TOTAL_BYTES {
        let message = format!("the files have {total} bytes together, more than {MAX_TOTAL_BYTES}");
        let help = Some("leave out what is no policy".to_owned());
        documents.unread.extend(KINDS);
        return (documents, vec![PolicyFault { file: String::new(), line: 0, column: 0, message, help }]);
    }
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
            documents.unread.extend(KINDS);
            continue;
        }
        for (before, text) in split(&file.text) {
            let piece = documents.pieces.len();
            if faults.len() >= MAX_FAULTS || piece >= MAX_DOCUMENTS {
                faults.push(PolicyFault {
                    file: file.name.clone(),
                    line: before.saturating_add(1),
                    column: 1,
                    message: "there are too many faults or documents to read on here".to_owned(),
                    help: Some(format!("mend the others first; a policy has at most {MAX_DOCUMENTS} documents")),
                });
                documents.unread.extend(KINDS);
                return (documents, faults);
            }
            documents.pieces.push(Piece { file: place, before });
            if let Err(found) = documents.read(piece, &text) {
                faults.extend(found.into_iter().map(|fault| documents.placed(piece, fault)));
                match likely_kind(&text) {
                    Some(kind) => documents.unread.extend([kind]),
                    None => documents.unread.extend(KINDS),
                }
            }
        }
    }
    (documents, faults)
}

/// Each document of a file that says something, and how many lines of the file are before it.
/// A line that begins with `---` always separates documents, even within a block (YAML 1.2, section 9.1.2).
fn split(text: &str) -> Vec<(u64, String)> {
    let mut documents = Vec::new();
    let mut current = (0, String::new());
    let mut says_something = false;
    for (number, line) in (0_u64..).zip(text.lines()) {
        let separates =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '#']));
        if separates {
            let before = std::mem::replace(&mut current, (number, String::new()));
            documents.extend(Some(before).filter(|_| says_something));
            // What stands behind the separator on its line belongs to the new document.
            current.1.push_str("   ");
            current.1.push_str(line.get(3..).unwrap_or_default());
        } else {
            current.1.push_str(line);
        }
        current.1.push('\n');
        let own = if separates { line.get(3..).unwrap_or_default() } else { line }.trim();
        says_something = (says_something && !separates) || !(own.is_empty() || own.starts_with('#'));
    }
    documents.extend(Some(current).filter(|_| says_something));
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
    /// A fault of a document at its place in the file.
    pub(super) fn placed(&self, piece: usize, fault: PolicyFault) -> PolicyFault {
        let Some(Piece { file, before }) = self.pieces.get(piece).copied() else { return fault };
        let file = self.files.get(file).map(|file| file.name.clone()).unwrap_or_default();
        let line = if fault.line == 0 { 0 } else { fault.line.saturating_add(before) };
        PolicyFault { file, line, ..fault }
    }

    /// The text of the file that a document stands in, and the lines before the document.
    pub(super) fn around(&self, piece: usize) -> (&str, u64) {
        let piece = self.pieces.get(piece);
        let text = piece.and_then(|piece| self.files.get(piece.file)).map_or("", |file| file.text.as_str());
        (text, piece.map_or(0, |piece| piece.before))
    }

    fn read(&mut self, file: usize, text: &str) -> Result<(), Vec<PolicyFault>> {
        // Most documents say their kind at the begin of a line and are read once. Whatever is not as it should be is read
        // again from its head, so that the first thing that is wrong is told.
        if likely_kind(text).is_some_and(|kind| self.read_as(kind, file, text, Why::First).is_ok()) {
            return Ok(());
        }
        let head: Head = serde_saphyr::from_str(text).map_err(|error| vec![fault(&error)])?;
        if head.api_version.value != API_VERSION {
            let message = format!("`{}` is not a version of policy documents", head.api_version.value);
            let help = Some(format!("write `apiVersion: {API_VERSION}`"));
            return Err(vec![at(head.api_version.referenced, message, help)]);
        }
        match KINDS.into_iter().find(|kind| *kind == head.kind.value) {
            Some(kind) => self.read_as(kind, file, text, Why::All),
            None => {
                let other = head.kind.value.as_str();
                let message = format!("`{other}` is not a kind of policy document");
                Err(vec![at(head.kind.referenced, message, Some(meant(other, &KINDS)))])
            }
        }
    }

    fn read_as(&mut self, kind: &'static str, file: usize, text: &str, why: Why) -> Result<(), Vec<PolicyFault>> {
        match kind {
            "Defaults" => self.defaults.push(placed(kind, file, text, why)?),
            "Service" => self.services.push(placed(kind, file, text, why)?),
            "Role" => self.roles.push(placed(kind, file, text, why)?),
            "Binding" => self.bindings.push(placed(kind, file, text, why)?),
            "Rule" => self.rules.push(placed(kind, file, text, why)?),
            "DenyRule" => self.denials.push(placed(kind, file, text, why)?),
            "Person" => self.people.push(placed(kind, file, text, why)?),
            "Group" => self.groups.push(placed(kind, file, text, why)?),
            _ => self.break_glass.push(placed(kind, file, text, why)?),
        }
        Ok(())
    }
}

/// The kind that a line of the document says, if it says one.
fn likely_kind(text: &str) -> Option<&'static str> {
    let stated = text.lines().find_map(|line| line.strip_prefix("kind:"))?.trim();
    KINDS.into_iter().find(|kind| *kind == stated)
}

/// How much is told of a document that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The first fault.
    First,
    /// All unknown fields, for which it is read again.
    All,
}

/// A document that is of this kind, and of the version that is read here.
fn placed<Spec: DeserializeOwned>(
    kind: &str,
    file: usize,
    text: &str,
    why: Why,
) -> Result<Placed<Spec>, Vec<PolicyFault>> {
    let document: Document<Spec> = serde_saphyr::from_str(text).map_err(|error| match why {
        Why::First => vec![fault(&error)],
        Why::All => all_faults::<Spec>(text, &error),
    })?;
    if document.kind.value != kind || document.api_version.value != API_VERSION {
        let message = format!("`{}` is not the kind that was read", document.kind.value);
        return Err(vec![at(document.kind.referenced, message, None)]);
    }
    Ok(Placed { file, document })
}

/// The fault that ended the reading; all of them if it is an unknown field, behind which there may be others.
fn all_faults<Spec: DeserializeOwned>(text: &str, error: &Error) -> Vec<PolicyFault> {
    if !matches!(error.without_snippet(), Error::SerdeUnknownField { .. }) {
        return vec![fault(error)];
    }
    let (unknown, other) = unknown_fields::<Document<Spec>>(text);
    let told = |Unknown { name, place, expected }: Unknown| {
        at(place, format!("unknown field `{name}`"), Some(meant(&name, expected)))
    };
    let mut faults: Vec<PolicyFault> = unknown.into_iter().map(told).collect();
    // A field that is missed is most likely one that was misspelt.
    let other = other.as_ref().filter(|other| !matches!(other.without_snippet(), Error::SerdeMissingField { .. }));
    faults.extend(other.map(fault));
    if faults.is_empty() { vec![fault(error)] } else { faults }
}

/// A fault at a place; the caller knows the file.
pub(super) fn at(location: Location, message: String, help: Option<String>) -> PolicyFault {
    PolicyFault { file: String::new(), line: location.line(), column: location.column(), message, help }
}

/// `did you mean …` if something is close, else the whole choice, or its beginning.
pub(super) fn meant<Name: AsRef<str>>(wrong: &str, known: &[Name]) -> String {
    let short = |name: &&str| name.len() <= MAX_COMPARED_NAME;
    let most = 2.max(wrong.chars().count() / 3);
    let lower = wrong.to_lowercase();
    let best = known
        .iter()
        .map(AsRef::as_ref)
        .filter(|name| short(name) && short(&wrong) && name.len().abs_diff(wrong.len()) <= most.saturating_mul(4))
        .take(MAX_COMPARED)
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .min();
    match best {
        Some((distance, name)) if distance <= most => format!("did you mean `{name}`?"),
        _ if known.is_empty() => "there are none here yet".to_owned(),
        _ => {
            let shown = known.iter().map(AsRef::as_ref).filter(short).take(MAX_LISTED);
            let names: Vec<_> = shown.map(|name| format!("`{name}`")).collect();
            let more = if known.len() > names.len() { ", …" } else { "" };
            format!("known here: {}{more}", names.join(", "))
        }
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
        Error::SerdeMissingField { field, .. } => {
            at(location, format!("missing field `{field}`"), Some(format!("write `{field}:` here")))
        }
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
