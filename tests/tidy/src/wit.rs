//! The interfaces: the WIT files resolve, what is ours is documented, what is vendored is unchanged.

use sha2::{Digest, Sha256};
use wit_parser::{Resolve, Type, TypeDefKind, TypeOwner};

use crate::repository::{assert_none, root};

/// Interfaces of others. Guests written for other hosts rely on them, so they change on purpose only. wasi-nn is the file of
/// wasmtime-wasi-nn 48.0.8, byte for byte.
const VENDORED: &[(&str, &str)] = &[
    ("wasi-nn@0.2.0-rc-2024-10-28/wasi-nn.wit", "362c214e8192a7b4754575c6c22813409323690d089742504e661f3e5f5d2fe2"),
    ("wasi-logging@0.1.0-draft/logging.wit", "4ec9a090cfe3052077ea3424a2241bc65f1636d84bf4654171a084c26f9902ea"),
];

/// Names of the worlds, interfaces, types and functions of our packages that have no `///`.
fn undocumented(resolve: &Resolve) -> Vec<String> {
    let ours = |package: Option<wit_parser::PackageId>| package.is_some_and(|id| resolve.packages[id].name.namespace == "halfpipe");
    let mut found = Vec::new();
    for (_, world) in resolve.worlds.iter().filter(|(_, world)| ours(world.package)) {
        if world.docs.is_empty() {
            found.push(format!("world {}", world.name));
        }
    }
    for (_, interface) in resolve.interfaces.iter().filter(|(_, interface)| ours(interface.package)) {
        let name = interface.name.as_deref().unwrap_or("(inline)");
        if interface.docs.is_empty() {
            found.push(format!("interface {name}"));
        }
        for (function, _) in interface.functions.iter().filter(|(_, function)| function.docs.is_empty()) {
            found.push(format!("function {name}.{function}"));
        }
    }
    for (_, ty) in resolve.types.iter() {
        let TypeOwner::Interface(owner) = ty.owner else { continue };
        let (interface, Some(name)) = (&resolve.interfaces[owner], &ty.name) else { continue };
        // `use other.{name}` makes an alias of a type that is documented where it stands.
        let used = matches!(ty.kind, TypeDefKind::Type(Type::Id(other)) if resolve.types[other].owner != ty.owner);
        if ours(interface.package) && !used && ty.docs.is_empty() {
            found.push(format!("type {}.{name}", interface.name.as_deref().unwrap_or("(inline)")));
        }
    }
    found
}

#[test]
fn worlds_resolve_and_are_documented() {
    let mut resolve = Resolve::default();
    resolve.push_dir(root().join("wit")).expect("wit/ resolves");
    assert!(resolve.worlds.iter().any(|(_, world)| world.name == "pipeline"), "wit/ has a world named pipeline");
    assert_none("These lack a `///` comment in wit/:", &undocumented(&resolve));
}

#[test]
fn vendored_interfaces_are_unchanged() {
    let dependencies = root().join("wit/deps");
    let mut found = Vec::new();
    for (path, pinned) in VENDORED {
        let bytes = std::fs::read(dependencies.join(path)).unwrap_or_default();
        let actual: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if actual != *pinned {
            found.push(format!("{path}: sha256 {actual}"));
        }
    }
    for entry in std::fs::read_dir(&dependencies).expect("wit/deps can be listed") {
        let name = entry.expect("wit/deps can be listed").file_name().to_string_lossy().into_owned();
        let known = name.starts_with("halfpipe-") || VENDORED.iter().any(|(path, _)| path.split('/').next() == Some(&name));
        if !known {
            found.push(format!("{name}: vendored, and not pinned"));
        }
    }
    assert_none("Vendored interfaces do not change by accident (pins in tests/tidy/src/wit.rs):", &found);
}

#[test]
fn a_missing_comment_is_found() {
    let text = "package halfpipe:a@0.1.0;
        interface bare { record r { x: u8 } resource s { go: func(); } f: func(); }
        /// Documented.
        interface good {
            use bare.{r};
            /// Documented.
            g: func(r: r);
        }
        world w { import good; }";
    let mut resolve = Resolve::default();
    resolve.push_str("a.wit", text).unwrap();
    let mut found = undocumented(&resolve);
    found.sort();
    let expected = ["function bare.[method]s.go", "function bare.f", "interface bare", "type bare.r", "type bare.s", "world w"];
    assert_eq!(found, expected);
}
