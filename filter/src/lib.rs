//! The Envoy filter: decides each call from a table that it keeps current by itself, without a network call on the
//! request path. Compiled to wasm32 it is the module that Envoy loads; natively it is a library of the pure parts
//! for tests, benches and the fleet simulator. It never panics: Envoy would leave every paused stream hanging.
//!
//! ```text
//!                     Envoy's worker (one VM each)
//!  ┌───────────────────────────────────────────────────────────────────────┐
//!  │  configure ──► root ──tick, answers──► plugin ── sync ──► table       │
//!  │                  │ ▲                     │  └──── records ◄─┐         │
//!  │           callouts, metrics              │                  │ event   │
//!  │                  ▼ │                     ▼                  │         │
//!  │  request headers ─► http ── headers, identity ──► flow ── decide ──►  │
//!  │  (bodies ─► bodies ─► http: only in the module that has the callbacks)│
//!  │                      ▲                             │                  │
//!  │                      └── continue, or reply ◄──────┘                  │
//!  │  entry ─► vm: the only ways in, one per callback that is needed       │
//!  │  host: the only way out, bytes in and out, a Result for every status  │
//!  └───────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Only `entry`, `vm`, `host`, `root` and `http` know the proxy's interface; they exist only in the wasm build.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice, clippy::arithmetic_side_effects))]

pub mod callbacks;
pub mod claims;
pub mod clock;
pub mod config;
pub mod facts;
pub mod fence;
pub mod flow;
pub mod headers;
pub mod holds;
pub mod identity;
pub mod masking;
pub mod metrics;
pub mod offline;
pub mod plugin;
pub mod pulse;
pub mod question;
pub mod random;
pub mod records;
pub mod reply;
pub mod seats;
pub mod share;
pub mod streams;
pub mod sync;
pub mod uses;
pub mod waiting;

// Under clippy these are checked natively too, where they could not be linked.
#[cfg(any(target_arch = "wasm32", clippy))]
pub mod bodies;
#[cfg(any(target_arch = "wasm32", clippy))]
mod entry;
#[cfg(any(target_arch = "wasm32", clippy))]
mod host;
#[cfg(any(target_arch = "wasm32", clippy))]
mod http;
#[cfg(any(target_arch = "wasm32", clippy))]
mod root;
#[cfg(any(target_arch = "wasm32", clippy))]
mod vm;
