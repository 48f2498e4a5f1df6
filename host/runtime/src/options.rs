//! Checks a job's options against the JSON Schema a guest gives of itself.

use serde_json::Value;

/// Checks `options` against `schema`.
///
/// # Errors
/// One sentence that lists every fault by option name, or says that the schema itself is broken.
pub fn check(schema: &str, options: &Value) -> Result<(), String> {
    let schema: Value = serde_json::from_str(schema).map_err(|e| format!("the guest's own options schema is not JSON: {e}"))?;
    let validator = jsonschema::validator_for(&schema).map_err(|e| format!("the guest's own options schema is broken: {e}"))?;
    let faults: Vec<String> = validator
        .iter_errors(options)
        .map(|e| {
            let at = e.instance_path().to_string();
            if at.is_empty() { e.to_string() } else { format!("{}: {e}", at.trim_start_matches('/')) }
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SCHEMA: &str =
        r#"{"type":"object","additionalProperties":false,"properties":{"opacity":{"type":"number","minimum":0,"maximum":1}}}"#;

    #[test]
    fn names_the_option_at_fault() {
        assert!(check(SCHEMA, &json!({"opacity": 0.5})).is_ok());
        assert!(check(SCHEMA, &json!({"opacity": 2})).unwrap_err().starts_with("opacity: "));
        assert!(check(SCHEMA, &json!({"opaqueness": 1})).unwrap_err().contains("opaqueness"));
        assert!(check("{", &json!({})).unwrap_err().contains("schema"));
    }
}
