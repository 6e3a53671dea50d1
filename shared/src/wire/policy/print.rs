//! From documents to text: the one form in which every policy that says the same is the same.
//!
//! Comments, files and the order of documents are gone; documents are by kind and name, fields in the order of their types,
//! and what is left out stays left out. Called where a policy is named by its content, shown, or generated.

use serde::Serialize;

use super::parse::{Documents, Placed};
use super::{
    BindingSpec, BreakGlassSpec, DefaultsSpec, DenyRuleSpec, Document, GroupSpec, PersonSpec, RoleSpec, RuleSpec,
    ServiceSpec,
};
use crate::wire::signature::Sha256Hash;

/// Longer lines are folded, where a text may be.
const WIDTH: usize = 110;

/// A document cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("a policy document cannot be written: {0}")]
pub struct PrintError(String);

/// A document of any kind.
#[derive(Serialize)]
#[serde(untagged)]
enum AnyDocument<'d> {
    Defaults(&'d Document<DefaultsSpec>),
    Service(&'d Document<ServiceSpec>),
    Role(&'d Document<RoleSpec>),
    Binding(&'d Document<BindingSpec>),
    Rule(&'d Document<RuleSpec>),
    Denial(&'d Document<DenyRuleSpec>),
    BreakGlass(&'d Document<BreakGlassSpec>),
    Person(&'d Document<PersonSpec>),
    Group(&'d Document<GroupSpec>),
}

impl Documents {
    /// All documents as one YAML file.
    ///
    /// # Errors
    /// If one of them cannot be written.
    pub fn to_yaml(&self) -> Result<String, PrintError> {
        let documents = self.in_order();
        let texts = documents.iter().map(yaml).collect::<Result<Vec<_>, _>>()?;
        Ok(texts.join("---\n"))
    }

    /// The hash that names what the documents say, wherever they stand: policies with one hash have the same documents.
    ///
    /// # Errors
    /// If a document cannot be written.
    pub fn digest(&self) -> Result<Sha256Hash, PrintError> {
        let text = serde_json::to_vec(&self.in_order()).map_err(|error| PrintError(error.to_string()))?;
        Ok(Sha256Hash::of(&text))
    }

    /// By kind and name.
    fn in_order(&self) -> Vec<AnyDocument<'_>> {
        let mut all = Vec::new();
        all.extend(by_name(&self.defaults).map(AnyDocument::Defaults));
        all.extend(by_name(&self.services).map(AnyDocument::Service));
        all.extend(by_name(&self.roles).map(AnyDocument::Role));
        all.extend(by_name(&self.bindings).map(AnyDocument::Binding));
        all.extend(by_name(&self.rules).map(AnyDocument::Rule));
        all.extend(by_name(&self.denials).map(AnyDocument::Denial));
        all.extend(by_name(&self.break_glass).map(AnyDocument::BreakGlass));
        all.extend(by_name(&self.people).map(AnyDocument::Person));
        all.extend(by_name(&self.groups).map(AnyDocument::Group));
        all
    }
}

impl<Spec: Serialize> Document<Spec> {
    /// The document as YAML.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn to_yaml(&self) -> Result<String, PrintError> {
        yaml(self)
    }
}

fn by_name<Spec>(documents: &[Placed<Spec>]) -> impl Iterator<Item = &Document<Spec>> {
    let mut documents: Vec<&Document<Spec>> = documents.iter().map(|placed| &placed.document).collect();
    documents.sort_by(|one, other| one.metadata.name.value.cmp(&other.metadata.name.value));
    documents.into_iter()
}

fn yaml(document: &impl Serialize) -> Result<String, PrintError> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: WIDTH };
    serde_saphyr::to_string_with_options(document, options).map_err(|error| PrintError(error.to_string()))
}
