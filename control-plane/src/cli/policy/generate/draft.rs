//! A service that is being put together: names that fit, one action for a route, and what is left out with its reason.

use std::collections::{BTreeMap, BTreeSet};

use grantmesh_shared::engine::{Overlap, PathTemplate};
use grantmesh_shared::wire::policy::{ActionSpec, Document, ServiceSpec, stated};

/// The longest name.
const MAX_NAME: usize = 64;

/// The longest description that is taken over.
const MAX_DESCRIPTION: usize = 200;

/// A service that is being put together.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// What the service is called if nobody says otherwise.
    pub(super) title: String,
    actions: Vec<ActionSpec>,
    names: BTreeSet<String>,
    /// From which number on names of a beginning may be free.
    numbers: BTreeMap<String, usize>,
    /// The templates of each method, with the action's name.
    paths: BTreeMap<String, Vec<(PathTemplate, String)>>,
    /// What cannot be said, and why.
    pub(super) left_out: Vec<(String, String)>,
}

impl Draft {
    /// A service of that title, with nothing in it.
    pub(super) fn titled(title: String) -> Self {
        Self { title, ..Self::default() }
    }

    /// Leaves something out.
    pub(super) fn leave_out(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.left_out.push((shortened(&what.into(), MAX_DESCRIPTION), why.into()));
    }

    /// Adds the action of a method and path, or leaves it out if it cannot be told from others for sure.
    pub(super) fn http(&mut self, method: &str, path: &str, wanted: &str, description: Option<&str>) {
        let what = format!("{method} {path}");
        let template = match template(path) {
            Ok(template) => template,
            Err(why) => return self.leave_out(what, why),
        };
        let parsed = match PathTemplate::parse(&template) {
            Ok(parsed) => parsed,
            Err(error) => return self.leave_out(what, error.to_string()),
        };
        let known = self.paths.entry(method.to_owned()).or_default();
        let other = known.iter().find(|(other, _)| matches!(other.overlap(&parsed), Overlap::Same | Overlap::Conflict));
        if let Some((other, action)) = other {
            let why =
                format!("its path overlaps `{other}` of `{action}`, and neither is narrower: routers differ about it");
            return self.leave_out(what, why);
        }
        let name = self.name(wanted);
        let resource = resource(&parsed);
        self.paths.entry(method.to_owned()).or_default().push((parsed, name.clone()));
        self.actions.push(ActionSpec {
            description: described(description),
            method: Some(stated(method.to_owned())),
            path: Some(stated(template)),
            resource: resource.map(stated),
            ..ActionSpec::new(&name)
        });
    }

    /// Adds an action that is not told apart by its path template, with the shorter name if that is free.
    pub(super) fn action(&mut self, (short, full): (&str, &str), action: impl FnOnce(ActionSpec) -> ActionSpec) {
        let wanted = if self.names.contains(&plain(short, "action")) { full } else { short };
        let name = self.name(wanted);
        self.actions.push(action(ActionSpec::new(&name)));
    }

    /// The document.
    pub(super) fn document(self, name: Option<&str>, hosts: &[String]) -> Document<ServiceSpec> {
        let name = name.map_or_else(|| plain(&self.title, "service"), str::to_owned);
        let hosts = hosts.iter().cloned().map(stated).collect();
        Document::new("Service", &name, ServiceSpec { hosts, ..ServiceSpec::new(self.actions) })
    }

    /// A name like the wanted one that no other action has.
    fn name(&mut self, wanted: &str) -> String {
        let wanted = plain(wanted, "action");
        let numbered = |number: usize| {
            let end = format!("-{number}");
            format!("{}{end}", wanted.get(..wanted.len().min(MAX_NAME.saturating_sub(end.len()))).unwrap_or_default())
        };
        let next = self.numbers.entry(wanted.clone()).or_insert(1);
        loop {
            let name = if *next == 1 { wanted.clone() } else { numbered(*next) };
            *next = next.saturating_add(1);
            // There are more names than there can be actions.
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// A text as a name: `createRefund` is `create-refund`, and what names cannot have becomes `-`.
pub(super) fn plain(text: &str, otherwise: &str) -> String {
    let mut name = String::new();
    let mut before = None::<char>;
    for letter in text.chars().take(4 * MAX_NAME) {
        let hump = letter.is_ascii_uppercase()
            && before.is_some_and(|before| before.is_ascii_lowercase() || before.is_ascii_digit());
        let gap = if name.ends_with(['-', '.', '_']) || name.is_empty() { "" } else { "-" };
        if hump {
            name.push_str(gap);
        }
        match letter {
            'a'..='z' | '0'..='9' | 'A'..='Z' => name.push(letter.to_ascii_lowercase()),
            '.' | '_' if !gap.is_empty() || hump => name.push(letter),
            _ => name.push_str(if hump { "" } else { gap }),
        }
        before = Some(letter);
    }
    let name = name.get(..name.len().min(MAX_NAME)).unwrap_or_default();
    let name = name.trim_matches(['-', '.', '_']);
    if name.is_empty() { otherwise.to_owned() } else { name.to_owned() }
}

/// A path with its parameters named as templates name them: `{petId}` is `{pet_id}`.
fn template(path: &str) -> Result<String, String> {
    let mut names = BTreeSet::new();
    let mut segments = Vec::new();
    for segment in path.split('/') {
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match inner {
            Some(name) if !name.contains(['{', '}']) => {
                let mut name = plain(name, "parameter").replace(['-', '.'], "_");
                while !names.insert(name.clone()) {
                    name.push('_');
                }
                segments.push(format!("{{{name}}}"));
            }
            _ if segment.contains(['{', '}']) => {
                return Err(format!(
                    "`{segment}` has a parameter beside something else: what is the parameter's and what is not, only the service knows"
                ));
            }
            _ => segments.push(segment.to_owned()),
        }
    }
    Ok(segments.join("/"))
}

/// What a call touches: the path from the first thing that is named by a parameter to the last one. So reading a thing, changing
/// it and what is done with it have one resource. Nothing if the path has no parameter.
fn resource(path: &PathTemplate) -> Option<String> {
    let segments: Vec<&str> = path.as_str().split('/').skip(1).collect();
    let is_parameter = |segment: &&str| segment.starts_with('{');
    let first = segments.iter().position(is_parameter)?.saturating_sub(1);
    let last = segments.iter().rposition(is_parameter)?;
    Some(segments.get(first..=last)?.join("/"))
}

/// The first line of a description, if it says something.
pub(super) fn described(text: Option<&str>) -> Option<String> {
    let line = text?.lines().map(str::trim).find(|line| !line.is_empty())?;
    let line: String = line.chars().filter(|letter| !letter.is_control()).collect();
    Some(shortened(&line, MAX_DESCRIPTION))
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_what_is_there() {
        for (text, expected) in [
            ("createRefund", "create-refund"),
            ("pets.listAll", "pets.list-all"),
            ("Swagger Petstore - OpenAPI 3.0", "swagger-petstore-open-api-3.0"),
            ("list_pets", "list_pets"),
            ("repos/get-content", "repos-get-content"),
            ("HTTPServer", "httpserver"),
            ("v2Get", "v2-get"),
            ("Größe", "gr-e"),
            ("--..__", "x"),
            ("", "x"),
        ] {
            assert_eq!(plain(text, "x"), expected, "{text}");
        }
        assert_eq!(plain(&"a".repeat(500), "x").len(), 64);
        let mut draft = Draft::default();
        let names: Vec<String> = ["get", "GET", "g.e.t", "get"].iter().map(|name| draft.name(name)).collect();
        assert_eq!(names, ["get", "get-2", "g.e.t", "get-3"]);
        let long = "a".repeat(100);
        assert_eq!((draft.name(&long).len(), draft.name(&long).len()), (64, 64));
    }

    #[test]
    fn a_resource_is_what_parameters_name() {
        for (path, expected) in [
            ("/pets", None),
            ("/v1/pets/{pet}", Some("pets/{pet}")),
            ("/v1/pets/{pet}/feed", Some("pets/{pet}")),
            ("/v1/owners/{owner}/pets/{pet}/feed/now", Some("owners/{owner}/pets/{pet}")),
            ("/{bucket}", Some("{bucket}")),
        ] {
            assert_eq!(resource(&PathTemplate::parse(path).unwrap()).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn parameters_are_renamed_and_never_guessed() {
        assert_eq!(template("/a/{petId}/{Pet-ID}").unwrap(), "/a/{pet_id}/{pet_id_}");
        for path in ["/a/{x}{y}", "/a/x{y}", "/a/{x}.json", "/a/{x", "/a/{{x}}"] {
            assert!(template(path).is_err(), "{path}");
        }
    }
}
