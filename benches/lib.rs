//! Benches of the engine: `cargo dev bench`. What the filter costs in Envoy is measured by `overhead/`.
