//! The harness of the end-to-end stories and of the demo: real Envoy, real control plane, real databases, real time.
//!
//! A story is a function that gets a running [`Mesh`] from [`play()`]:
//!
//! ```text
//!   story ── Mesh ─┬─ ControlPlane (process)  ◄── Cable (TCP, can be cut) ◄─┐
//!                  ├─ Envoy (process) ── jwt_authn ── filter (wasm) ────────┘
//!                  ├─ Upstream (remembers what it served)
//!                  └─ Postgres (process; only if the story is played on it)
//! ```
//!
//! Nothing sleeps: everything waits for a condition with a deadline ([`until`]). Every process is killed when its handle
//! is dropped, and tells the end of its log if that happens because the story failed.

mod api;
mod authority;
pub mod backends;
mod cable;
mod control_plane;
mod dice;
mod envoy;
pub mod fleet;
mod json;
mod latency;
mod log;
mod mesh;
pub mod noise;
mod parts;
mod people;
mod play;
pub mod poison;
mod postgres;
mod process;
pub mod raw;
mod stage;
mod turns;
mod upstream;
mod wait;
mod wall_clock;

pub use api::{Api, Reply};
pub use authority::Authority;
pub use cable::{Cable, Weather};
pub use control_plane::{CliOutput, ControlPlane};
pub use dice::{Dice, proof_size};
pub use envoy::{Bodies, Delivery, Envoy, EnvoySetup};
pub use json::{member, text};
pub use latency::Latencies;
pub use log::entries;
pub use mesh::{Database, Mesh, PAYMENTS, Setup, Whose};
pub use parts::Parts;
pub use people::{ALICE, BOB, LEA, MALLORY, OLAF, Person};
pub use play::play;
pub use postgres::Postgres;
pub use process::Process;
pub use stage::Stage;
pub use turns::{Counted, Turns};
pub use upstream::{ANSWER, Served, Upstream};
pub use wait::{PATIENCE, until, until_every};
pub use wall_clock::WallClock;
