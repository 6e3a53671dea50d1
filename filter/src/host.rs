//! The only way to the proxy: raw calls of its interface, each giving a `Result` for every status, bytes in and out.
//! No SDK stands between: what there is panics on statuses that callers can provoke, turns headers into text, and
//! exports a callback for every phase of a call.

#![expect(
    unsafe_code,
    reason = "the proxy's interface is raw functions over pointers; nothing outside this module touches them"
)]

use std::cell::Cell;
use std::time::Duration;

use crate::clock::Mono;
use crate::headers;
use crate::pulse::Wall;

/// Why the proxy did not do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proxy refused `{call}` with status {status}")]
pub(crate) struct HostError {
    call: &'static str,
    status: u32,
}

type Result<T> = std::result::Result<T, HostError>;

/// Which header map.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Map {
    Request = 0,
    Response = 2,
    ResponseTrailers = 3,
    CalloutAnswer = 6,
}

/// Which buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    CalloutAnswer = 4,
    PluginConfiguration = 7,
}

/// How loud a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

/// What becomes of a call or response after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum HeadAction {
    /// It goes on.
    Continue = 0,
    /// It is held, and what follows is shown; only in a proxy that allows this plugin to.
    Hold = 1,
    /// It stands still, with all that follows. Not the proxy's plain "stop", which what follows would undo.
    Stop = 4,
}

/// What becomes of a body's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum BodyAction {
    /// It goes on.
    Continue = 0,
    /// It is kept.
    Keep = 1,
}

/// A counter only grows; a gauge is set; a histogram takes in values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, size: usize) -> u32;
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, max: usize, data: *const u8, size: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        size: usize,
    ) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, data: *const u8, size: usize, version: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
}

/// WASI's name of the clock that people set.
const REALTIME: u32 = 0;

/// WASI's name of the clock that is never set.
const MONOTONIC: u32 = 1;

fn done(call: &'static str, status: u32) -> Result<()> {
    if status == OK { Ok(()) } else { Err(HostError { call, status }) }
}

/// Bytes that the proxy wrote into memory that it asked this module for.
fn taken(call: &'static str, ask: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Option<Vec<u8>>> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size = 0_usize;
    match ask(&raw mut data, &raw mut size) {
        OK if data.is_null() => Ok(Some(Vec::new())),
        // SAFETY: the proxy allocates by this module's exported `proxy_on_memory_allocate`, which gives a leaked box of
        // exactly `size` bytes, and hands it over for good.
        OK => Ok(Some(unsafe { Vec::from_raw_parts(data, size, size) })),
        NOT_FOUND => Ok(None),
        status => Err(HostError { call, status }),
    }
}

fn clock(clock: u32) -> Result<u64> {
    let mut nanos = 0_u64;
    // SAFETY: the pointer is to a live local.
    let status = unsafe { clock_time_get(clock, 1, &raw mut nanos) };
    done("clock_time_get", status).map(|()| nanos)
}

/// The proxy's monotonic time.
pub(crate) fn monotonic() -> Result<Mono> {
    clock(MONOTONIC).map(Mono::from_nanos)
}

/// The machine's wall clock; for `pulse` alone.
pub(crate) fn wall() -> Result<Wall> {
    clock(REALTIME).map(Wall::from_nanos)
}

thread_local! {
    /// What is quieter than this is not written.
    static LOG_LEVEL: Cell<u32> = const { Cell::new(Level::Info as u32) };
}

/// Takes over the proxy's log level, which somebody may have changed. Called by every tick, so that asking whether
/// something is logged costs a call nothing.
pub(crate) fn follow_log_level() {
    let mut level = 0_u32;
    // SAFETY: the pointer is to a live local.
    if unsafe { proxy_get_log_level(&raw mut level) } == OK {
        LOG_LEVEL.set(level);
    }
}

/// Whether a message of this level is written: to be asked before it is put together.
pub(crate) fn logs(level: Level) -> bool {
    level as u32 >= LOG_LEVEL.get()
}

/// Writes to the proxy's log. If even that fails there is nobody left to tell.
pub(crate) fn log(level: Level, message: &str) {
    if !logs(level) {
        return;
    }
    // SAFETY: pointer and length are of one live string.
    let _status = unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// Has `on_tick` called with this period from now on.
pub(crate) fn set_tick_period(period: Duration) -> Result<()> {
    let millis = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: no pointers.
    done("set_tick_period", unsafe { proxy_set_tick_period_milliseconds(millis) })
}

/// A whole buffer; nothing if there is none.
pub(crate) fn buffer(buffer: Buffer) -> Result<Option<Vec<u8>>> {
    taken("get_buffer_bytes", |data, size| {
        // SAFETY: both pointers are to live locals of `taken`.
        unsafe { proxy_get_buffer_bytes(buffer as u32, 0, u32::MAX as usize, data, size) }
    })
}

/// Puts something else in place of a whole buffer.
pub(crate) fn set_buffer(buffer: Buffer, data: &[u8]) -> Result<()> {
    // SAFETY: the pointer goes with its length and outlives the call.
    let status = unsafe { proxy_set_buffer_bytes(buffer as u32, 0, u32::MAX as usize, data.as_ptr(), data.len()) };
    done("set_buffer_bytes", status)
}

/// Removes every value of a header.
pub(crate) fn remove_header(map: Map, name: &str) -> Result<()> {
    // SAFETY: the pointer goes with its length and outlives the call.
    done("remove_header_map_value", unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// Sets the one value of a header.
pub(crate) fn set_header(map: Map, name: &str, value: &str) -> Result<()> {
    // SAFETY: every pointer goes with its length and outlives the call.
    let status =
        unsafe { proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    done("replace_header_map_value", status)
}

/// A whole header map in its serialised form, for [`crate::headers::Headers`].
pub(crate) fn header_map(map: Map) -> Result<Vec<u8>> {
    let bytes = taken("get_header_map_pairs", |data, size| {
        // SAFETY: both pointers are to live locals of `taken`.
        unsafe { proxy_get_header_map_pairs(map as u32, data, size) }
    });
    bytes.map(Option::unwrap_or_default)
}

/// A property; nothing if the proxy has none. The parts of `path` are separated by zero bytes.
pub(crate) fn property(path: &str) -> Result<Option<Vec<u8>>> {
    taken("get_property", |data, size| {
        // SAFETY: `path` is live, and both pointers are to live locals of `taken`.
        unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }
    })
}

/// Sets a value in the filter state of the current call; the proxy knows it as `wasm.NAME`.
pub(crate) fn set_filter_state(name: &str, value: &str) -> Result<()> {
    // SAFETY: every pointer goes with its length and outlives the call.
    done("set_property", unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Answers the call of the current context here.
pub(crate) fn send_local_response(
    status: u16,
    details: &str,
    reply_headers: &[(&[u8], &[u8])],
    body: &[u8],
    grpc_status: i32,
) -> Result<()> {
    let map = headers::serialise(reply_headers);
    // SAFETY: every pointer goes with its length and outlives the call.
    let status = unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            map.as_ptr(),
            map.len(),
            grpc_status,
        )
    };
    done("send_local_response", status)
}

/// What all VMs of the proxy share under a key, and its version; nothing if there is nothing.
pub(crate) fn shared_data(key: &str) -> Result<(Option<Vec<u8>>, u32)> {
    let mut version = 0_u32;
    let data = taken("get_shared_data", |data, size| {
        // SAFETY: `key` is live, and the pointers are to live locals.
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version) }
    })?;
    Ok((data, version))
}

/// Shares something in place of the version that was read; `false` if somebody else was quicker.
pub(crate) fn set_shared_data(key: &str, data: &[u8], version: u32) -> Result<bool> {
    // SAFETY: every pointer goes with its length and outlives the call.
    let status = unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), data.as_ptr(), data.len(), version) };
    if status == CAS_MISMATCH { Ok(false) } else { done("set_shared_data", status).map(|()| true) }
}

/// Makes the calls of the proxy that follow concern another context, until the present callback ends. Refused if that
/// context is no more, which is normal for calls.
pub(crate) fn set_effective_context(context: u32) -> Result<()> {
    // SAFETY: no pointers.
    done("set_effective_context", unsafe { proxy_set_effective_context(context) })
}

/// Lets the paused call of the current context go on.
pub(crate) fn continue_request() -> Result<()> {
    // SAFETY: no pointers.
    done("continue_stream", unsafe { proxy_continue_stream(0) })
}

/// Resets the call of the current context, for its caller and for the service.
pub(crate) fn close_request() -> Result<()> {
    // SAFETY: no pointers.
    done("close_stream", unsafe { proxy_close_stream(0) })
}

/// Sends a callout; gives back its token. A timeout of zero would never end, so it is at least a millisecond.
pub(crate) fn call_out(cluster: &str, call_headers: &[(&[u8], &[u8])], body: &[u8], timeout: Duration) -> Result<u32> {
    let (map, trailers, mut token) = (headers::serialise(call_headers), headers::serialise(&[]), 0_u32);
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
    // SAFETY: every pointer goes with its length and outlives the call.
    let status = unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            map.as_ptr(),
            map.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            millis,
            &raw mut token,
        )
    };
    done("http_call", status).map(|()| token)
}

/// The id of a metric.
pub(crate) fn define_metric(kind: MetricKind, name: &str) -> Result<u32> {
    let mut id = 0_u32;
    // SAFETY: `name` is live, and the pointer is to a live local.
    let status = unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) };
    done("define_metric", status).map(|()| id)
}

/// Adds to a counter. Zero is not passed on: the proxy takes it for a mistake.
pub(crate) fn increment_metric(id: u32, by: u64) -> Result<()> {
    match i64::try_from(by).unwrap_or(i64::MAX) {
        0 => Ok(()),
        // SAFETY: no pointers.
        by => done("increment_metric", unsafe { proxy_increment_metric(id, by) }),
    }
}

/// Sets a gauge, or gives a value to a histogram.
pub(crate) fn record_metric(id: u32, value: u64) -> Result<()> {
    // SAFETY: no pointers.
    done("record_metric", unsafe { proxy_record_metric(id, value) })
}
