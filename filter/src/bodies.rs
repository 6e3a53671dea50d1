//! The callbacks for bodies and responses, for the module that has them (`grantmesh-filter-bodies`): each is an entry into
//! the VM for every call that has such a part, so the module without them serves whoever needs none.

pub use crate::host::{BodyAction, HeadAction};
use crate::{callbacks, vm};

/// To be called before anything else, once in a VM.
pub fn begin() {
    callbacks::there_are_for_bodies();
}

/// A part of a request's body: `size` bytes are there now, and with `ends` all of it.
#[must_use]
pub fn on_request_body(context: u32, size: usize, ends: bool) -> BodyAction {
    vm::on_request_body(context, size, ends)
}

/// A request's trailers: its body is whole.
#[must_use]
pub fn on_request_trailers(context: u32) -> BodyAction {
    vm::on_request_body(context, 0, true)
}

/// A response's head.
#[must_use]
pub fn on_response_headers(context: u32, ends: bool) -> HeadAction {
    vm::on_response_headers(context, ends)
}

/// A part of a response's body: `size` bytes are there now, and with `ends` all of it.
#[must_use]
pub fn on_response_body(context: u32, size: usize, ends: bool) -> BodyAction {
    vm::on_response_body(context, size, ends)
}

/// A response's trailers: its body is whole.
#[must_use]
pub fn on_response_trailers(context: u32) -> BodyAction {
    vm::on_response_trailers(context)
}
