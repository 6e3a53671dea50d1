//! What Grantmesh decides ([`engine`]) and what its parts say to each other ([`wire`]).
//!
//! One engine, compiled for the control plane, for Envoy (wasm32) and for the browser.
//! This crate does no IO, reads no clock, draws no random number and never panics on any input.
//!
//! ```text
//!  policy documents (YAML) ─ wire::policy ─► items ─ wire::table ─► engine::Table ┐
//!                                                                                 ├─ engine::decide ─► Decision
//!  method, path, identity ───────────────── engine::Call (canonical) ─────────────┘
//! ```

#![deny(clippy::indexing_slicing, clippy::string_slice, clippy::arithmetic_side_effects)]

pub mod body;
pub mod engine;
pub mod id;
#[cfg(feature = "policy")]
mod schema;
pub mod text;
pub mod time;
pub mod wire;
