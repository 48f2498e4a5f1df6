//! Tests of the catalog's form.

use super::*;

const MODEL: &str = r#"
schema = 1
[[model]]
name = "net"
file = "net.onnx"
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
bytes = 3
licence = "Apache-2.0"
credit = "someone"
source = "somewhere"
recipe = "by hand"
summary = "A net."
inputs = [{ name = "image", type = "f32", dims = [0, 3, 256, 256] }]
outputs = [{ name = "points", type = "f16", dims = [0, 8] }]
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
"#;

fn error_of(text: &str) -> String {
    Catalog::parse(text, "test.toml").unwrap_err().to_string()
}

#[test]
fn the_builtin_catalog_is_well_formed() {
    let catalog = Catalog::builtin().unwrap();
    assert!(catalog.entries().count() > 0 && !catalog.bodies().is_empty());
    for model in catalog.models() {
        let image = model.inputs.iter().any(|p| p.dims.len() == 4 && p.dims[1] == 3);
        assert_eq!(image, model.normalization().is_some(), "{} must state mean and std if and only if it takes images", model.name);
    }
}

#[test]
fn an_entry_is_read_in_full() {
    let catalog = Catalog::parse(MODEL, "test.toml").unwrap();
    let Entry::Model(m) = catalog.entry("net").unwrap() else { panic!("not a model") };
    assert_eq!((m.inputs[0].ty, m.outputs[0].ty), (TensorType::F32, TensorType::F16));
    assert_eq!(m.inputs[0].dims, [0, 3, 256, 256]);
    assert_eq!(m.normalization().unwrap().std, [0.25; 3]);
    assert_eq!(catalog.entry("nut").unwrap_err().to_string(), "there is no model or body named `nut` in the catalog; it has: net");
    assert!(catalog.body("net").is_err());
}

#[test]
fn misspelt_keys_and_bad_values_are_errors() {
    for (from, to, wanted) in [
        ("schema = 1", "schema = 2", "schema is 2"),
        ("credit =", "credits =", "credits"),
        ("type = \"f32\"", "type = \"f31\"", "f31"),
        ("file = \"net.onnx\"", "file = \"../net.onnx\"", "plain file name"),
        ("file = \"net.onnx\"", "file = \"..\"", "plain file name"),
        ("ba7816", "BA7816", "64 lower-case hex"),
        ("name = \"net\"", "name = \"Net/1\"", "not a model name"),
        ("mean = [0.5, 0.5, 0.5]", "", "go together"),
        ("std = [0.25, 0.25, 0.25]", "std = [0.25, 0.0, 0.25]", "std not 0"),
        ("dims = [0, 8]", "dims = [-1, 8]", "-1"),
    ] {
        let text = error_of(&MODEL.replace(from, to));
        assert!(text.starts_with("test.toml: ") && text.contains(wanted), "{from} -> {to}: {text}");
    }
}

#[test]
fn merging_refuses_a_name_that_is_taken() {
    let one = Catalog::parse(MODEL, "a.toml").unwrap();
    let other = Catalog::parse(&MODEL.replace("\"net\"", "\"net2\""), "b.toml").unwrap();
    let both = one.clone().merge(other, "b.toml").unwrap();
    assert_eq!(both.entries().map(Entry::name).collect::<Vec<_>>(), ["net", "net2"]);
    let text = both.merge(one, "c.toml").unwrap_err().to_string();
    assert_eq!(text, "c.toml: two entries are named `net`; rename one");
}

#[test]
fn a_catalog_is_loaded_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    std::fs::write(&path, MODEL).unwrap();
    assert_eq!(Catalog::load(&path).unwrap().models().len(), 1);
    let text = Catalog::load(&dir.path().join("none.toml")).unwrap_err().to_string();
    assert!(text.contains("none.toml"), "{text}");
}
