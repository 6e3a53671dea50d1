//! The JSON Schema of values that are texts or numbers of a fixed form, for whatever describes what carries them.

/// Lets a type stand in schemas as this form, wherever it is used.
macro_rules! stands_as {
    ($type:ty, $name:literal, $form:tt) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($form)
            }
        }
    };
}

use crate::id::{DecisionId, GrantId, LockId, PolicyId, RequestId, ReviewId, UseId, VmId};
use crate::time::{Span, Timestamp};
use crate::wire::TableHash;
use crate::wire::signature::Sha256Hash;

stands_as!(RequestId, "RequestId", { "type": "string", "pattern": "^req_[0-9a-hjkmnp-tv-z]{26}$" });
stands_as!(ReviewId, "ReviewId", { "type": "string", "pattern": "^review_[0-9a-hjkmnp-tv-z]{26}$" });
stands_as!(GrantId, "GrantId", { "type": "string", "pattern": "^grant_[0-9a-hjkmnp-tv-z]{26}$" });
stands_as!(LockId, "LockId", { "type": "string", "pattern": "^lock_[0-9a-hjkmnp-tv-z]{26}$" });
stands_as!(PolicyId, "PolicyId", { "type": "string", "pattern": "^policy_[0-9a-hjkmnp-tv-z]{26}$" });
stands_as!(VmId, "VmId", { "type": "string", "pattern": "^vm_[0-9a-hjkmnp-tv-z]{26}$" });
stands_as!(DecisionId, "DecisionId", { "type": "string", "pattern": "^dec_[0-9a-hjkmnp-tv-z]{26}$" });
stands_as!(UseId, "UseId", { "type": "string", "pattern": "^use_[0-9a-hjkmnp-tv-z]{26}$" });
stands_as!(Sha256Hash, "Sha256Hash", { "type": "string", "pattern": "^[0-9a-fA-F]{64}$" });
stands_as!(TableHash, "TableHash", { "type": "string", "pattern": "^[0-9a-fA-F]{64}$" });
stands_as!(Timestamp, "Timestamp", {
    "type": "integer",
    "format": "int64",
    "description": "Milliseconds since 1970, UTC.",
});
stands_as!(Span, "Span", {
    "type": "string",
    "pattern": "^([0-9]{1,6}(ms|s|m|h|d))+$",
    "maxLength": 64,
    "examples": ["90s", "15m", "1h30m"],
});
