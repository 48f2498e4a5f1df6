//! The table of settings in the documentation is made of what the programs take.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

use std::fmt::Write;

use clap::{Args, Command};
use halfpipe_service::settings::{ApiSettings, JobSettings, Places, StoreSettings};

const BEGIN: &str = "<!-- made by `make openapi` from host/service/src/settings.rs -->\n";
const END: &str = "<!-- end -->\n";

fn table() -> String {
    let command = ApiSettings::augment_args(StoreSettings::augment_args(Command::new("settings")));
    let command = Places::augment_args(JobSettings::augment_args(command));
    let mut table = "| flag | variable | default | meaning |\n|---|---|---|---|\n".to_owned();
    for argument in command.get_arguments() {
        let flag = argument.get_long().unwrap();
        let variable = argument.get_env().unwrap().to_str().unwrap();
        let help = argument.get_help().unwrap().to_string();
        let (meaning, told) = match help.split_once(" [default: ") {
            Some((meaning, told)) => (meaning.to_owned(), told.trim_end_matches(']').to_owned()),
            None => (help, String::new()),
        };
        let default: Vec<String> = argument.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
        let default = if told.is_empty() { default.join(", ") } else { told };
        let value =
            if argument.get_action().takes_values() { argument.get_value_names().unwrap()[0].replace('|', "\\|") } else { String::new() };
        let flag = format!("--{flag} {value}");
        writeln!(table, "| `{}` | `{variable}` | {default} | {} |", flag.trim(), meaning.replace('|', "\\|")).unwrap();
    }
    table
}

#[test]
fn the_documentation_lists_every_setting() {
    let file = halfpipe_testkit::places::root().join("docs/serving.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("docs/serving.md has a mark where the table begins");
    let (kept, after) = rest.split_once(END).expect("docs/serving.md has a mark where the table ends");
    if std::env::var_os("HALFPIPE_UPDATE").is_some() {
        std::fs::write(&file, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
    } else {
        assert_eq!(kept, table(), "docs/serving.md is not what the programs take; run `make openapi`");
    }
}
