//! The filter as a module that also reads bodies of requests and masks responses: `grantmesh-filter` with the callbacks
//! for them. Every callback that a module exports is an entry into the VM for every call, so the module without these
//! is the one for proxies whose policies look into no bodies.
//!
//! ```text
//!  grantmesh_filter.wasm          heads alone
//!  grantmesh_filter_bodies.wasm   the same, and: request body ─► decided │ response ─► masked
//! ```

#![cfg(any(target_arch = "wasm32", clippy))]
#![expect(unsafe_code, reason = "exports are unmangled by their nature")]

use grantmesh_filter::bodies::{self, BodyAction, HeadAction};

/// Called once for every VM, before its configuration.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_root: u32, _size: usize) -> bool {
    bodies::begin();
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, ends: bool) -> BodyAction {
    bodies::on_request_body(context, size, ends)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, _trailers: usize) -> BodyAction {
    bodies::on_request_trailers(context)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _headers: usize, ends: bool) -> HeadAction {
    bodies::on_response_headers(context, ends)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, size: usize, ends: bool) -> BodyAction {
    bodies::on_response_body(context, size, ends)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, _trailers: usize) -> BodyAction {
    bodies::on_response_trailers(context)
}
