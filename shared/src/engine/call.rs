//! One call as the engine sees it: already canonical, everything borrowed.

use super::canonical::{Ambiguity, CanonicalPath, canonical_method, canonical_path};
use super::principal::Principal;

/// One HTTP or gRPC request. Only made by [`Call::new`], so its method and path are never ambiguous.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub(crate) service: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: CanonicalPath<'a>,
    pub(crate) principal: Principal<'a>,
}

impl<'a> Call<'a> {
    /// A call of `service` by `principal`; `method` and `path` (with or without a query) are as they stand on the wire.
    ///
    /// # Errors
    /// If two parsers could read the method or path differently.
    pub fn new(
        service: &'a str,
        method: &'a [u8],
        path: &'a [u8],
        principal: Principal<'a>,
    ) -> Result<Self, Ambiguity> {
        Ok(Self { service, method: canonical_method(method)?, path: canonical_path(path)?, principal })
    }

    /// The service that is called.
    #[must_use]
    pub const fn service(&self) -> &'a str {
        self.service
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &'a str {
        self.method
    }

    /// The path.
    #[must_use]
    pub const fn path(&self) -> CanonicalPath<'a> {
        self.path
    }

    /// Who calls.
    #[must_use]
    pub const fn principal(&self) -> &Principal<'a> {
        &self.principal
    }
}
