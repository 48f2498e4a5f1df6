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
    let both = one.merge(other).unwrap();
    assert_eq!(both.entries().map(Entry::name).collect::<Vec<_>>(), ["net", "net2"]);
    let again = Catalog::parse(&MODEL.replace("file = \"net.onnx\"", "file = \"other.onnx\""), "c.toml").unwrap();
    let text = both.merge(again).unwrap_err().to_string();
    assert_eq!(text, "c.toml: `net` is in a.toml already; rename one or remove it");
}

#[test]
fn further_catalogs_are_read_by_name_and_clashes_name_both_files() {
    let dir = tempfile::tempdir().unwrap();
    let builtin = Catalog::builtin().unwrap().entries().count();
    assert_eq!(Catalog::installed(dir.path(), None).unwrap().entries().count(), builtin);
    let folder = dir.path().join(FURTHER);
    std::fs::create_dir(&folder).unwrap();
    let write = |file: &str, name: &str| std::fs::write(folder.join(file), MODEL.replace("\"net\"", &format!("\"{name}\""))).unwrap();
    write("b.toml", "second");
    write("a.toml", "first");
    write(".c.toml", "hidden");
    std::fs::write(folder.join("notes.txt"), "not a catalog").unwrap();
    let more = dir.path().join("more.toml");
    std::fs::write(&more, MODEL).unwrap();
    let catalog = Catalog::installed(dir.path(), Some(&more)).unwrap();
    let names: Vec<_> = catalog.models().iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names[names.len() - 3..], ["first", "second", "net"]);

    write("c.toml", "first");
    let text = Catalog::installed(dir.path(), None).unwrap_err().to_string();
    assert!(text.contains("c.toml: `first` is in ") && text.contains("a.toml already"), "{text}");
    write("c.toml", "movenet_multipose");
    let text = Catalog::installed(dir.path(), None).unwrap_err().to_string();
    assert!(text.contains("c.toml: `movenet_multipose` is in models/catalog.toml already"), "{text}");
    std::fs::write(folder.join("c.toml"), "schema = 2").unwrap();
    let text = Catalog::installed(dir.path(), None).unwrap_err().to_string();
    assert!(text.contains("c.toml: ") && text.contains("schema is 2"), "{text}");
}

#[test]
fn a_body_may_have_further_outputs() {
    let start = MODEL.replace("[[model]]", "[[body]]").replace("mean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]", "");
    let body = start.replace(
        "bytes = 3",
        "bytes = 3\nrig = \"net.safetensors\"\nrig_sha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n\
         rig_bytes = 3\nvertices = 6890\nfaces = 13776",
    );
    let ports = |names: &[&str]| {
        let list: Vec<_> = names.iter().map(|n| format!("{{ name = \"{n}\", type = \"f32\", dims = [0, 24, 3] }}")).collect();
        body.replace("{ name = \"points\", type = \"f16\", dims = [0, 8] }", &list.join(", "))
    };
    let catalog = Catalog::parse(&ports(&["vertices", "joints", "openpose"]), "test.toml").unwrap();
    assert_eq!(catalog.bodies()[0].outputs.len(), 3);
    for missing in [["vertices", "openpose"], ["openpose", "joints"]] {
        let text = error_of(&ports(&missing));
        assert!(text.contains("a body has the outputs `vertices` and `joints`"), "{text}");
    }
}

#[test]
fn external_data_are_files_of_their_own() {
    let data = |file: &str, digest: &str| {
        MODEL.replace("bytes = 3", &format!("bytes = 3\ndata = [{{ file = \"{file}\", sha256 = \"{digest}\", bytes = 5 }}]"))
    };
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let catalog = Catalog::parse(&data("net.data", digest), "test.toml").unwrap();
    let entry = catalog.entry("net").unwrap();
    assert_eq!(entry.files().iter().map(|f| f.file).collect::<Vec<_>>(), ["net.onnx", "net.data"]);
    assert_eq!(entry.bytes(), 8);
    assert!(error_of(&data("net.onnx", digest)).contains("two files named net.onnx"));
    assert!(error_of(&data("../net.data", digest)).contains("plain file name"));
    assert!(error_of(&data("net.data", "abc")).contains("64 lower-case hex"));
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
