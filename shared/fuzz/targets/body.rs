//! Bodies of calls and responses, see the checks that the properties share.
#![no_main]
#![expect(dead_code, reason = "each target calls one of the checks")]

#[path = "../../tests/hostile/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::body(bytes));
