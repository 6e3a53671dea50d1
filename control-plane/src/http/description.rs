//! The API's description: what `utoipa` gathers from the handlers, with the JSON Schemas of types that are not this
//! crate's own, such as those of the wire between filters and control plane.

use std::borrow::Cow;

use grantmesh_shared::time::Span;
use grantmesh_shared::wire::policy::PolicyFault;
use grantmesh_shared::wire::policy::cases::Explanation;
use grantmesh_shared::wire::shown::ShownCall;
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::{claims, holds, records, sync};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{OpenApi, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Stands in handlers and bodies for a type that describes itself by a JSON Schema.
macro_rules! described {
    ($($name:ident: $type:ty;)*) => {
        $(
            #[doc = concat!("The schema of `", stringify!($type), "`.")]
            pub(super) enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    // Only holds the place: `complete` puts the real one there.
                    ObjectBuilder::new().build().into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    <$type>::schema_name()
                }
            }
        )*

        fn schemas() -> Map<String, Value> {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
            });
            let mut generator = settings.into_generator();
            let mut schemas = Map::new();
            $(
                let schema = generator.subschema_for::<$type>();
                if <$type>::inline_schema() {
                    schemas.insert(<$type>::schema_name().into_owned(), schema.into());
                }
            )*
            schemas.extend(generator.take_definitions(true));
            schemas
        }
    };
}

described! {
    Length: Span;
    Digest: Sha256Hash;
    Shown: ShownCall;
    Fault: PolicyFault;
    Explained: Explanation;
    Position: sync::Position;
    SyncQuestion: sync::SyncRequest;
    SyncReply: sync::SyncAnswer;
    HeartbeatQuestion: sync::HeartbeatRequest;
    HeartbeatReply: sync::HeartbeatAnswer;
    ClaimsQuestion: claims::ClaimsRequest<'static>;
    ClaimsReply: claims::ClaimsAnswer;
    HoldsQuestion: holds::HoldsRequest<'static>;
    HoldsReply: holds::HoldsAnswer;
    RecordsBatch: records::RecordsRequest;
    RecordsReply: records::RecordsAnswer;
}

/// A text that is one of these words, for parameters.
pub(super) fn one_of(words: impl IntoIterator<Item = &'static str>) -> Schema {
    let words: Vec<_> = words.into_iter().collect();
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).enum_values(Some(words)).build().into()
}

/// The whole description, with every schema in its place.
pub(super) fn complete(gathered: &OpenApi) -> Value {
    let mut document = serde_json::to_value(gathered).unwrap_or_default();
    if let Some(Value::Object(known)) = document.pointer_mut("/components/schemas") {
        known.extend(schemas());
    }
    document
}
