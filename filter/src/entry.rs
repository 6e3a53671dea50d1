//! What the proxy calls: the raw exports of its interface, handed on to `vm`. Whatever is exported here is called for
//! every call that passes, so there is nothing for responses, bodies, logs or ends: each would be another entry into
//! the VM. The proxy takes a callback that is not exported for "continue". Those for bodies are exported by the package
//! `grantmesh-filter-bodies`, which is this one and them.

#![expect(unsafe_code, reason = "exports are unmangled by their nature, and one of them hands out memory")]

use crate::host;
use crate::vm;

unsafe extern "C" {
    /// Made by the linker: runs the constructors of the C library and of statics.
    fn __wasm_call_ctors();
}

/// Marks the version of the interface that this module is written for.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the proxy calls this once, before anything else.
    unsafe { __wasm_call_ctors() };
    std::panic::set_hook(Box::new(|info| host::log(host::Level::Critical, &info.to_string())));
}

/// Memory that the proxy fills and hands over; `host` frees it as a vector of exactly `size` bytes.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let memory: Box<[std::mem::MaybeUninit<u8>]> = Box::new_uninit_slice(size);
    Box::into_raw(memory).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    vm::on_context_create(context, parent);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, _size: usize) -> bool {
    vm::on_configure(root)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    vm::on_tick(root);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(root: u32, token: u32, headers: usize, _body: usize, _trailers: usize) {
    vm::on_http_call_response(root, token, headers);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _headers: usize, end: bool) -> host::HeadAction {
    vm::on_request_headers(context, end)
}
