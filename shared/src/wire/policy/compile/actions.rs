//! Actions of a service, from what people write to what filters receive, and what they declare for conditions.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use serde_saphyr::Spanned;

use super::Compiler;
use super::paths::Paths;
use crate::engine::{ActionTemplates, canonical_method};
use crate::wire::policy::{ActionSpec, BodySpec, FactType, FieldSpec, FieldWord};
use crate::wire::table::{
    ActionItem, ActionsItem, AuditItem, BodyWord, CriticalityWord, FieldItem, PlaceWord, SelectorItem,
};

/// The longest JSON pointer and the longest text that may stand there.
pub(in crate::wire::policy) const MAX_SELECT: usize = 256;

/// The most actions of a service.
pub(in crate::wire::policy) const MAX_ACTIONS: usize = 5_000;

/// The most names of one kind that an action or service declares.
pub(in crate::wire::policy) const MAX_NAMES: usize = 64;

/// What the actions of a service declare for conditions and bindings of grants.
#[derive(Debug, Default)]
pub(super) struct Declared<'d> {
    /// Request headers.
    pub(super) headers: Vec<String>,
    /// By action.
    pub(super) actions: Vec<ActionFacts<'d>>,
    places: HashMap<&'d str, usize>,
    /// What all of them declare, once somebody asked.
    by_all: OnceCell<Common>,
    masked_by_all: OnceCell<BTreeSet<String>>,
}

/// What several actions declare alike.
#[derive(Debug, Clone, Default)]
pub(super) struct Common {
    pub(super) params: Vec<String>,
    pub(super) query: Vec<String>,
    pub(super) fields: Vec<(String, FactType)>,
    /// Why the body cannot be named: the first of them does not read it.
    pub(super) no_body: Option<String>,
}

impl<'d> Declared<'d> {
    pub(super) fn new(headers: Vec<String>, actions: Vec<ActionFacts<'d>>) -> Self {
        let places = actions.iter().enumerate().map(|(at, facts)| (facts.name, at)).collect();
        Self { headers, actions, places, by_all: OnceCell::new(), masked_by_all: OnceCell::new() }
    }

    /// What these actions declare alike. For all of them it is found once, however many conditions are about all.
    pub(super) fn common(&self, actions: &ActionsItem) -> Common {
        match actions {
            ActionsItem::All => self.by_all.get_or_init(|| Common::of(&self.of(actions).collect::<Vec<_>>())).clone(),
            ActionsItem::Named(_) => Common::of(&self.of(actions).collect::<Vec<_>>()),
        }
    }

    /// The masked fields that some of these actions have. For all of them they are found once.
    pub(super) fn masked(&self, actions: &ActionsItem) -> Cow<'_, BTreeSet<String>> {
        let of = || self.of(actions).flat_map(|facts| facts.masked.iter().cloned()).collect();
        match actions {
            ActionsItem::All => Cow::Borrowed(self.masked_by_all.get_or_init(of)),
            ActionsItem::Named(_) => Cow::Owned(of()),
        }
    }

    /// Whether there is such an action.
    pub(super) fn has(&self, action: &str) -> bool {
        self.places.contains_key(action)
    }

    /// The names of all actions.
    pub(super) fn names(&self) -> Vec<&'d str> {
        self.actions.iter().map(|facts| facts.name).collect()
    }

    /// What these actions declare.
    pub(super) fn of<'s>(&'s self, actions: &'s ActionsItem) -> impl Iterator<Item = &'s ActionFacts<'d>> {
        let (all, named) = match actions {
            ActionsItem::All => (self.actions.as_slice(), [].as_slice()),
            ActionsItem::Named(names) => ([].as_slice(), names.as_slice()),
        };
        let place = |name: &String| self.places.get(name.as_str()).copied();
        all.iter().chain(named.iter().filter_map(place).filter_map(|at| self.actions.get(at)))
    }
}

impl Common {
    fn of(actions: &[&ActionFacts<'_>]) -> Self {
        let Some((first, rest)) = actions.split_first() else { return Self::default() };
        let unread = actions.iter().find(|facts| !facts.reads_body);
        Self {
            params: in_all(&first.params, rest.iter().map(|facts| &facts.params)),
            query: in_all(&first.query, rest.iter().map(|facts| &facts.query)),
            fields: in_all(&first.fields, rest.iter().map(|facts| &facts.fields)),
            no_body: unread.map(|facts| format!("the body of `{}` is not read (its action has no `body`)", facts.name)),
        }
    }
}

/// What is in the first list and in all others. Each is looked through once, however many names are common.
fn in_all<'f, T: Clone + Eq + Hash + 'f>(first: &[T], others: impl Iterator<Item = &'f Vec<T>>) -> Vec<T> {
    let mut common = first.to_vec();
    for other in others {
        if common.is_empty() {
            break;
        }
        let other: HashSet<&T> = other.iter().collect();
        common.retain(|name| other.contains(name));
    }
    common
}

/// What one action declares.
#[derive(Debug)]
pub(super) struct ActionFacts<'d> {
    pub(super) name: &'d str,
    pub(super) params: Vec<String>,
    pub(super) query: Vec<String>,
    pub(super) fields: Vec<(String, FactType)>,
    pub(super) masked: Vec<String>,
    pub(super) reads_body: bool,
}

impl<'d> Compiler<'d> {
    pub(super) fn headers(&mut self, file: usize, names: &[Spanned<String>]) -> Vec<String> {
        let mut found = Vec::new();
        for name in names {
            let token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
            let fine = (1..=128).contains(&name.value.len()) && name.value.bytes().all(token);
            let known = ["authorization", "cookie", "host", "proxy-authorization"];
            if !fine {
                let message = format!("`{}` is not a header", name.value.escape_debug());
                self.fault(file, name.referenced, message, "write its name in lower case, like `x-ticket`".to_owned());
            } else if known.contains(&name.value.as_str()) {
                let message = format!("`{}` is not for conditions", name.value);
                let help = "use `principal` for who calls, and `request.host` for the host".to_owned();
                self.fault(file, name.referenced, message, help);
            }
            found.push(name.value.clone());
        }
        found.sort();
        found.dedup();
        found
    }

    pub(super) fn actions(&mut self, file: usize, specs: &'d [ActionSpec]) -> (Vec<ActionItem>, Vec<ActionFacts<'d>>) {
        let mut seen = BTreeSet::new();
        let (mut items, mut facts) = (Vec::new(), Vec::new());
        let mut known = Paths::default();
        for spec in specs {
            self.unique(&mut seen, "action", file, &spec.name);
            let place = spec.name.referenced;
            let query = self.at_most(file, place, "query parameters", &spec.query, MAX_NAMES);
            let (method, path) = self.route(file, spec);
            let resource = spec.resource.as_ref().map(|resource| resource.value.as_str());
            let reads = matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS");
            let by_method = if reads { CriticalityWord::Low } else { CriticalityWord::Standard };
            let mut item = ActionItem {
                name: spec.name.value.clone(),
                selectors: self.selectors(file, spec),
                method,
                path,
                resource: resource.unwrap_or_default().to_owned(),
                criticality: spec.criticality.unwrap_or(by_method),
                audit: self.audit(file, spec),
                rollout: self.rollout(file, spec.mode, spec.percent.as_ref()),
                query: query.iter().map(|name| name.value.clone()).collect(),
                body: spec.body.map(|body| match body {
                    BodySpec::Strict => BodyWord::Strict,
                    BodySpec::HeadFirst => BodyWord::HeadFirst,
                }),
                fields: Vec::new(),
            };
            let types = self.fields(file, spec, &mut item);
            self.body(file, spec, &item);
            let mut params = Vec::new();
            match ActionTemplates::parse(&item.path, resource) {
                Ok(parsed) => {
                    item.resource = parsed.resource.as_str().to_owned();
                    params = parsed.path.parameters().map(str::to_owned).collect();
                    self.overlaps(file, spec, &item, parsed.path, &mut known);
                }
                Err(error) => {
                    let place = spec.path.as_ref().or(spec.grpc.as_ref()).unwrap_or(&spec.name).referenced;
                    self.refused(file, place, &error);
                }
            }
            facts.push(ActionFacts {
                name: &spec.name.value,
                params,
                query: item.query.clone(),
                fields: types,
                masked: item.fields.iter().filter(|field| field.mask).map(|field| field.name.clone()).collect(),
                reads_body: item.body.is_some(),
            });
            // Also after a fault, so that what names this action is not reported too.
            items.push(item);
        }
        (items, facts)
    }

    /// The method and path, from the one or the other way to say them.
    fn route(&mut self, file: usize, spec: &ActionSpec) -> (String, String) {
        if let Some(operation) = &spec.graphql {
            let message = "a GraphQL operation cannot be told by its name".to_owned();
            let help = "the caller chooses the name freely, and one document holds many fields; allow persisted queries only, and \
                        write `select: [{ pointer: /extensions/persistedQuery/sha256Hash, value: HASH }]` for each";
            self.fault(file, operation.referenced, message, help.to_owned());
        }
        match (&spec.grpc, &spec.method, &spec.path) {
            (None, Some(method), Some(path)) => {
                if canonical_method(method.value.as_bytes()).is_err() {
                    let message = format!("`{}` is not an HTTP method", method.value.escape_debug());
                    self.fault(file, method.referenced, message, "write it in upper case, like `POST`".to_owned());
                }
                (method.value.clone(), path.value.clone())
            }
            (Some(grpc), None, None) => {
                let word = |text: &str, more: &[u8]| {
                    !text.is_empty()
                        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || more.contains(&byte))
                };
                let fine = grpc
                    .value
                    .split_once('/')
                    .is_some_and(|(service, method)| word(service, b".") && word(method, b""));
                if !fine {
                    let message = format!("`{}` is not a gRPC method", grpc.value.escape_debug());
                    let help = "write `package.Service/Method`, as in the .proto file".to_owned();
                    self.fault(file, grpc.referenced, message, help);
                }
                ("POST".to_owned(), format!("/{}", grpc.value))
            }
            _ => {
                let message = format!("it is not said how the action `{}` is called", spec.name.value);
                let help = "write `method` and `path`, or `grpc` alone".to_owned();
                self.fault(file, spec.name.referenced, message, help);
                ("POST".to_owned(), format!("/{}", spec.name.value))
            }
        }
    }

    fn selectors(&mut self, file: usize, spec: &ActionSpec) -> Vec<SelectorItem> {
        let item = |pointer: &str, value: &str| SelectorItem { pointer: pointer.to_owned(), value: value.to_owned() };
        let mut selectors = Vec::new();
        if let Some(method) = &spec.json_rpc {
            selectors.push((method.referenced, item("/method", &method.value)));
        }
        if let Some(tool) = &spec.mcp_tool {
            if let Some(method) = &spec.json_rpc {
                let message = "a tool's call has a method of its own".to_owned();
                self.fault(file, method.referenced, message, "leave `jsonRpc` out beside `mcpTool`".to_owned());
            }
            selectors.push((tool.referenced, item("/method", "tools/call")));
            selectors.push((tool.referenced, item("/params/name", &tool.value)));
        }
        for select in self.at_most(file, spec.name.referenced, "selectors", &spec.select, MAX_NAMES) {
            self.pointer(file, &select.pointer);
            selectors.push((select.value.referenced, item(&select.pointer.value, &select.value.value)));
        }
        for (at, (place, selector)) in selectors.iter().enumerate() {
            if selector.value.is_empty() || selector.value.len() > MAX_SELECT {
                let message = "the text of a selector is empty or too long".to_owned();
                self.fault(file, *place, message, format!("write a text of at most {MAX_SELECT} bytes"));
            }
            if selectors.iter().take(at).any(|(_, other)| other.pointer == selector.pointer) {
                let message = format!("two texts are wanted at `{}`", selector.pointer);
                self.fault(file, *place, message, "keep one of them".to_owned());
            }
        }
        if let Some((place, _)) = selectors.first().filter(|_| spec.grpc.is_some()) {
            let message = "the body of a gRPC call is no JSON".to_owned();
            self.fault(
                file,
                *place,
                message,
                "leave the selector out: a gRPC method is an action of its own".to_owned(),
            );
        }
        selectors.into_iter().map(|(_, selector)| selector).collect()
    }

    fn pointer(&mut self, file: usize, pointer: &Spanned<String>) {
        let text = pointer.value.as_str();
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let fine = text.starts_with('/')
            && text.len() <= MAX_SELECT
            && text.split('/').count() <= 32
            && escapes
            && !text.chars().any(char::is_control);
        if !fine {
            let message = format!("`{}` is not a JSON pointer", text.escape_debug());
            let help =
                "write it as RFC 6901 does, like `/order/amount`, with `~1` for a slash in a name and `~0` for a tilde";
            self.fault(file, pointer.referenced, message, help.to_owned());
        }
    }

    /// Declares the fields in the item, and gives those of the request with their types.
    fn fields(&mut self, file: usize, spec: &ActionSpec, item: &mut ActionItem) -> Vec<(String, FactType)> {
        let mut types = Vec::new();
        let specs = self.at_most(file, spec.name.referenced, "fields", &spec.fields, MAX_NAMES);
        for FieldSpec { name, place, pointer, kind, mask } in specs {
            self.name(file, name);
            if item.fields.iter().any(|known| known.name == name.value) {
                let message = format!("there is another field named `{}`", name.value);
                self.fault(file, name.referenced, message, "give each its own name, or remove one".to_owned());
            }
            if let Some(pointer) = pointer {
                self.pointer(file, pointer);
            }
            if *place == PlaceWord::Request && *mask {
                let message = format!("the field `{}` of the request cannot be masked", name.value);
                self.fault(file, name.referenced, message, "only what comes back is masked: `in: response`".to_owned());
            }
            if *place == PlaceWord::Response && (kind.is_some() || !*mask) {
                let message =
                    format!("the field `{}` of the response is there to be masked, and has no type", name.value);
                self.fault(file, name.referenced, message, "write `mask: true` and no `type`".to_owned());
            }
            if *place == PlaceWord::Request {
                types.push((
                    name.value.clone(),
                    match kind.unwrap_or_default() {
                        FieldWord::String => FactType::Text,
                        FieldWord::Number => FactType::Number,
                        FieldWord::Bool => FactType::Bool,
                    },
                ));
            }
            let pointer = pointer.as_ref().map_or_else(|| format!("/{}", name.value), |pointer| pointer.value.clone());
            item.fields.push(FieldItem { name: name.value.clone(), place: *place, pointer, mask: *mask });
        }
        types
    }

    /// A part of the request's body can only be used where it is said how the body is read.
    fn body(&mut self, file: usize, spec: &ActionSpec, item: &ActionItem) {
        let uses_body = !item.selectors.is_empty() || item.fields.iter().any(|field| field.place == PlaceWord::Request);
        if uses_body && item.body.is_none() && spec.grpc.is_none() {
            let message =
                format!("the action `{}` uses the request's body, and it is not said how that is read", item.name);
            let help = "write `body: strict` (the proxy must be set up for it) or `body: head-first` (the service may see the \
                        call's head before it is decided)";
            self.fault(file, spec.name.referenced, message, help.to_owned());
        }
        if spec.grpc.is_some() && (item.body.is_some() || !item.fields.is_empty()) {
            let message = "the body of a gRPC call is no JSON".to_owned();
            let help = "leave `body` and `fields` out".to_owned();
            self.fault(file, spec.name.referenced, message, help);
        }
    }

    fn audit(&mut self, file: usize, spec: &ActionSpec) -> AuditItem {
        let Some(audit) = &spec.audit else { return AuditItem::All };
        if let AuditItem::Sampled(share) = audit.value
            && !(1..100).contains(&share)
        {
            let message = format!("`{share}` is not a sample");
            let help = "write a share from 1 to 99 percent, or `all` or `counted`".to_owned();
            self.fault(file, audit.referenced, message, help);
        }
        audit.value
    }
}
