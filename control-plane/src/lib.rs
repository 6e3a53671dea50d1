//! The control plane of Grantmesh: requests, reviews, grants, policy and the audit log, and the push of state to filters.
//!
//! ```text
//!  cli ──HTTP──► http ─┬─► app ──► store ──► SQLite or PostgreSQL
//!  filters ─────► push ┘    │
//!                 tasks ────┘   domain: pure; clock: the only source of time and randomness
//! ```
//!
//! Layers import only downwards. A state change without its audit entry and its revision cannot be written.

pub mod app;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod http;
pub mod identity;
pub mod keys;
pub mod mark;
pub mod notify;
pub mod push;
pub mod redact;
pub mod store;
pub mod tasks;
