//! Reading JSON answers in stories: by pointer, with an error that shows the whole answer.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What a pointer points to.
///
/// # Errors
/// If there is nothing; the text shows what there is.
pub fn member<'v>(value: &'v Value, pointer: &str) -> Result<&'v Value> {
    value.pointer(pointer).with_context(|| format!("there is no `{pointer}` in {value}"))
}

/// The text that a pointer points to.
///
/// # Errors
/// If there is no text; the error shows what there is.
pub fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    member(value, pointer)?.as_str().with_context(|| format!("`{pointer}` is no text in {value}"))
}
