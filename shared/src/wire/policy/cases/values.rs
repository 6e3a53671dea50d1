//! The value of a claim or field as cases and flags write it: JSON, or plain text without quotes.

use super::CaseValue;

/// Reads a value; the fault and what to do if it is none.
///
/// # Errors
/// If it begins like JSON and is none, or is a number that cannot be kept exactly.
pub fn read_value(text: &str) -> Result<CaseValue, (String, &'static str)> {
    let text = text.trim();
    let is_number = text.strip_prefix('-').unwrap_or(text).starts_with(|letter: char| letter.is_ascii_digit());
    match text.parse() {
        Ok(number) => return Ok(CaseValue::Number(number)),
        Err(crate::engine::DecimalError::Range) if is_number => {
            let message = format!("`{}` has too many digits to be kept exactly", text.escape_debug());
            return Err((message, "write a shorter number, or a text in double quotes"));
        }
        Err(_) => {}
    }
    match text {
        "true" => return Ok(CaseValue::Bool(true)),
        "false" => return Ok(CaseValue::Bool(false)),
        "null" => return Ok(CaseValue::Other),
        _ => {}
    }
    if !text.starts_with(['"', '[', '{']) {
        return Ok(CaseValue::Text(text.to_owned()));
    }
    match serde_json::from_str(text) {
        Ok(serde_json::Value::String(text)) => Ok(CaseValue::Text(text)),
        Ok(serde_json::Value::Array(list)) => {
            let texts: Option<Vec<String>> = list.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            Ok(texts.map_or(CaseValue::Other, CaseValue::Texts))
        }
        Ok(_) => Ok(CaseValue::Other),
        Err(error) => {
            let text: String = text.chars().take(64).collect();
            let message = format!("`{}` begins like JSON and is none: {error}", text.escape_debug());
            Err((message, "write JSON, or plain text that does not begin with a quote or bracket"))
        }
    }
}
