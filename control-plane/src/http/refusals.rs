//! What routes may refuse, for their description: one type per status, so that a route lists what it can answer. That a
//! route answers nothing else is held by the tests, which look every answer up.

use std::collections::BTreeMap;

use grantmesh_shared::wire::problem::MEDIA_TYPE;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema as _};

use super::view::ProblemView;

type Described = BTreeMap<String, RefOr<Response>>;

fn problem(status: u16, description: &str) -> (String, RefOr<Response>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemView::name()))).build();
    let response = ResponseBuilder::new().description(description).content(MEDIA_TYPE, content).build();
    (status.to_string(), response.into())
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $($status:literal $description:literal),+;)*) => {$(
        $(#[$doc])*
        pub(super) enum $name {}

        impl IntoResponses for $name {
            fn responses() -> Described {
                [$(problem($status, $description)),+].into()
            }
        }
    )*};
}

refusals! {
    /// What every route can answer that looks into the database.
    Failing:
        500 "something failed inside; the server's log says what",
        503 "the database does not answer, or it took too long; try again";

    /// What every route can answer that is for people or filters with a token.
    Caller:
        401 "there is no token, or it is not accepted",
        500 "something failed inside; the server's log says what",
        503 "the database does not answer, or it took too long; try again";

    /// Of routes with a query or header to read.
    BadRequest:
        400 "a parameter has another form, or is not known";

    /// Of routes with a JSON body.
    BadBody:
        400 "the body, or a parameter, has another form",
        413 "the body is too large";

    /// Of routes that not everybody may use who sees them.
    Forbidden:
        403 "you may not do this";

    /// Of routes about one thing.
    NotFound:
        404 "there is no such thing, or none that you may see";

    /// Of routes that change a state.
    Conflict:
        409 "something else was there first";

    /// Of routes that replace what the caller has seen.
    PreconditionFailed:
        412 "it is not what you said it was",
        428 "it is not said what is replaced";

    /// Of routes that can be told what the caller has seen.
    Changed:
        412 "it is not what you said it was";

    /// Of routes whose values have to fit the policy.
    Unfit:
        422 "the values break a rule";

    /// Of routes that one person may use so often.
    Limited:
        429 "you have asked too often, or too soon; `detail` says what to wait for";

    /// Of routes that only so many may use at once.
    TooMany:
        429 "as many as are served at once are being served already";
}
