//! A guest's options: a JSON Schema tells the host and people what the code's defaults are. Both must say the same.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// How far two numbers may lie apart and be the same default: an f32 in the code is not quite the decimal number of the schema.
const SAME: f64 = 1e-6;

/// Where a schema (JSON Schema, an object with `properties`) and the options' defaults differ, one sentence each: options that only one
/// of them has, and defaults that are others. For a guest's tests.
#[must_use]
pub fn differences(schema: &str, defaults: &impl Serialize) -> Vec<String> {
    let properties = |value: Value| value.get("properties").cloned();
    let described = match serde_json::from_str(schema).map(properties) {
        Ok(Some(Value::Object(described))) => described,
        Ok(_) => return vec!["the schema has no object of properties".into()],
        Err(e) => return vec![format!("the schema is no JSON: {e}")],
    };
    let Ok(Value::Object(defaults)) = serde_json::to_value(defaults) else { return vec!["the options are no object".into()] };
    let names: BTreeSet<&String> = described.keys().chain(defaults.keys()).collect();
    let differ = |name: &String| match (described.get(name), defaults.get(name)) {
        (Some(described), Some(value)) => {
            let stated = &described["default"];
            let same = match (stated.as_f64(), value.as_f64()) {
                (Some(a), Some(b)) => (a - b).abs() < SAME,
                _ => stated == value,
            };
            (!same).then(|| format!("{name}: the schema says {stated}, the code {value}"))
        }
        (Some(_), None) => Some(format!("{name}: the code does not know it")),
        (None, _) => Some(format!("{name}: the schema does not describe it")),
    };
    names.into_iter().filter_map(differ).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{ "properties": { "size": { "default": 0.3 }, "name": { "default": "a" }, "limit": { "default": null } } }"#;

    #[test]
    fn what_agrees_does_not_differ() {
        let defaults = json!({ "size": 0.3f32, "name": "a", "limit": null });
        assert!(differences(SCHEMA, &defaults).is_empty(), "{:?}", differences(SCHEMA, &defaults));
    }

    #[test]
    fn every_difference_is_told() {
        let found = differences(SCHEMA, &json!({ "size": 0.4, "name": "a", "limits": 3 }));
        let wanted =
            ["limit: the code does not know it", "limits: the schema does not describe it", "size: the schema says 0.3, the code 0.4"];
        assert_eq!(found, wanted);
        assert_eq!(differences("{}", &json!({})), ["the schema has no object of properties"]);
        assert!(differences("{", &json!({}))[0].starts_with("the schema is no JSON"));
        assert_eq!(differences(SCHEMA, &3), ["the options are no object"]);
    }
}
