//! The generated bindings of the planner's world.
#![allow(unsafe_code, missing_docs, clippy::all, reason = "wit-bindgen generates the component's ABI; the documentation is in wit/")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "halfpipe:app/planner",
    generate_all,
    pub_export_macro: true,
    additional_derives: [PartialEq, Eq],
});
