//! `halfpipe models import hmr2`: from the user's files to models that the program verifies, and what it says of wrong ones. The files are
//! the small made-up ones of the fixture.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;

use common::{Desk, text};
use halfpipe_testkit::places;

/// Runs the import into the folder `models` of the desk.
fn import(desk: &Desk, checkpoint: &str, smpl: &str, more: &[&str]) -> common::Ran {
    let (models, recipes) = (desk.path("models"), places::root().join("models"));
    let args =
        ["models", "import", "hmr2", "--checkpoint", checkpoint, "--smpl", smpl, "--models", text(&models), "--recipes", text(&recipes)];
    desk.run(&[&args, more].concat())
}

#[test]
fn what_was_imported_is_listed_and_verified() {
    let desk = Desk::new();
    let sources = places::hmr2_fixture().join("sources");
    let (checkpoint, smpl) = (sources.join("hmr2.ckpt"), sources.join("smpl.pkl"));
    let (checkpoint, smpl) = (text(&checkpoint), text(&smpl));

    let refused = import(&desk, checkpoint, smpl, &["--any-size"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.error().contains("--accept-licence") && refused.stdout.contains("no commercial use"), "{}", refused.error());
    assert!(!desk.path("models").join("hmr2.onnx").exists());

    let done = import(&desk, checkpoint, smpl, &["--any-size", "--accept-licence", "--fp16"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(desk.path("models/hmr2.parity.json").is_file());
    let listed = desk.run(&["models", "--json", "--models", text(&desk.path("models"))]);
    let list: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    for name in ["hmr2", "smpl_neutral"] {
        let row = list["models"].as_array().unwrap().iter().find(|m| m["name"] == name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert_eq!(row["state"], "present", "{row}");
        assert!(row["licence"].as_str().unwrap().contains("commercial"), "{row}");
    }
}

#[test]
fn wrong_files_are_told_in_one_line() {
    let desk = Desk::new();
    let sources = places::hmr2_fixture().join("sources");
    let smpl = sources.join("smpl.pkl");
    let missing = import(&desk, "nowhere.ckpt", text(&smpl), &[]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.error().contains("nowhere.ckpt does not exist") && missing.error().contains("4D-Humans"), "{}", missing.error());
    std::fs::write(desk.path("page.pkl"), "<html>Log in</html>").unwrap();
    let wrong = import(&desk, text(&sources.join("hmr2.ckpt")), "page.pkl", &["--any-size"]);
    assert!(wrong.error().contains("a web page") && wrong.error().contains("Register at"), "{}", wrong.error());
    desk.fails(&["models", "import", "hmr2", "--checkpoint", "a", "--smpl", "b", "--recipes", "."], 4, &["import_hmr2.py", "--recipes"]);
}
