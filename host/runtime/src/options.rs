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

/// Fills in what a job on one window of a plan needs otherwise than a job on a whole video. A window numbers its people by itself, so
/// with a colour for each number somebody would change colour where two windows meet: where the guest knows the option `one_colour`
/// and nobody set it, everybody is drawn in one colour.
pub fn settle_for_part(schema: &str, options: &mut Value) {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let knows = schema.pointer("/properties/one_colour").is_some();
    if let Some(options) = options.as_object_mut().filter(|o| knows && !o.contains_key("one_colour")) {
        options.insert("one_colour".to_owned(), true.into());
    }
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

    #[test]
    fn windows_of_a_plan_draw_everybody_in_one_colour() {
        let schema = r#"{"properties":{"one_colour":{"type":"boolean"}}}"#;
        let settled = |schema: &str, mut options: Value| {
            settle_for_part(schema, &mut options);
            options
        };
        assert_eq!(settled(schema, json!({"a": 1})), json!({"a": 1, "one_colour": true}));
        assert_eq!(settled(schema, json!({"one_colour": false})), json!({"one_colour": false}), "what was asked for stays");
        assert_eq!(settled(SCHEMA, json!({})), json!({}), "other guests are not given options they do not know");
    }
}
