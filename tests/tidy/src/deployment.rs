//! What the files of infra/ say to the programs is what the programs understand: variables, commands, options, ports, paths. Renaming
//! one of them in the sources without infra/, or misspelling one there, fails here.
//!
//! What is declared is read from the sources, by the form in which clap and axum are used in this repository.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::repository::{assert_none, root, texts};

/// Variables of scripts and of the build, which no program of ours reads.
const OF_SCRIPTS: &[&str] = &["HALFPIPE_CI_TARGET", "HALFPIPE_LIB", "HALFPIPE_RIE", "HALFPIPE_CARGO_LAMBDA"];

/// What the programs understand.
#[derive(Default)]
struct Declared {
    /// Variables of `halfpipe`.
    command: BTreeSet<String>,
    /// Variables of the Lambda function.
    function: BTreeSet<String>,
    /// Options (`--name`) of each command of `halfpipe`.
    options: BTreeMap<String, BTreeSet<String>>,
    /// Ports that commands listen on by default.
    ports: BTreeSet<u16>,
    /// Paths that are served; `{}` stands for a part that varies.
    paths: BTreeSet<String>,
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is one")
}

/// The first group of every match.
fn all(text: &str, expression: &str) -> Vec<String> {
    pattern(expression).captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// Names of variables in a source: as clap's `env = ".."`, or as a text of that form anywhere outside tests and messages.
fn variables(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    all(code, r#""(HALFPIPE_[A-Z0-9_]+)""#)
}

/// The structs and enums of clap arguments in a source: name, its long options, and what is flattened into it or commands it.
fn structs(source: &str) -> Vec<(String, Vec<String>, Vec<String>)> {
    let whole = pattern(r"(?s)pub (?:struct|enum) (\w+) \{\n(.*?)\n\}");
    let field = pattern(r"(?s)#\[(arg|command)\(((?:[^()]|\([^()]*(?:\([^()]*\))?[^()]*\))*)\)\]\s*(?:pub )?(?:r#)?(\w+): ([\w:]+)");
    whole
        .captures_iter(source)
        .map(|found| {
            let (mut options, mut flattened) = (Vec::new(), Vec::new());
            for part in field.captures_iter(&found[2]) {
                let attributes = &part[2];
                if attributes.contains("flatten") || attributes.contains("subcommand") {
                    flattened.push(part[4].rsplit(':').next().unwrap_or_default().to_owned());
                } else if let Some(name) = all(attributes, r#"\blong = "([a-z0-9-]+)""#).pop() {
                    options.push(name);
                } else if pattern(r"\blong\b").is_match(attributes) {
                    options.push(part[3].replace('_', "-"));
                }
            }
            (found[1].to_owned(), options, flattened)
        })
        .collect()
}

/// Commands in clap's enum: name as it is typed, and the struct of its arguments.
fn commands(source: &str) -> Vec<(String, String)> {
    let Some(body) = source.split("pub enum Command {").nth(1).and_then(|rest| rest.split("\n}").next()) else { return Vec::new() };
    pattern(r"(?m)^    (\w+)\((?:Box<)?([\w:]+)>?\)")
        .captures_iter(body)
        .map(|found| (found[1].to_lowercase(), found[2].rsplit(':').next().unwrap_or_default().to_owned()))
        .collect()
}

fn declared() -> Declared {
    let mut declared = Declared::default();
    let (mut known, mut named) = (BTreeMap::new(), Vec::new());
    for (path, text) in texts().filter(|(path, _)| path.starts_with("host/") && path.contains("/src/") && path.ends_with(".rs")) {
        let both = !path.starts_with("host/cli/") && !path.starts_with("host/lambda/");
        if both || path.starts_with("host/cli/") {
            declared.command.extend(variables(&text));
        }
        if both || path.starts_with("host/lambda/") {
            declared.function.extend(variables(&text));
        }
        declared.paths.extend(all(&text, r#"\.route\(\s*"([^"]+)""#).iter().map(|route| general(route)));
        if path.starts_with("host/cli/") {
            let addresses = all(&text, r#"default_value = "127\.0\.0\.1:(\d+)""#);
            declared.ports.extend(addresses.iter().filter_map(|port| port.parse::<u16>().ok()));
            named.extend(commands(&text));
        }
        // settings that commands share are the service's
        if path.starts_with("host/cli/") || path == "host/service/src/settings.rs" {
            for (name, options, flattened) in structs(&text) {
                known.insert(name, (options, flattened));
            }
        }
    }
    for (command, arguments) in named {
        let mut options: BTreeSet<String> = ["help", "version", "verbose"].map(Into::into).into();
        let mut open = vec![arguments];
        while let Some((own, flattened)) = open.pop().and_then(|name| known.get(&name)) {
            options.extend(own.iter().cloned());
            open.extend(flattened.iter().cloned());
        }
        declared.options.insert(command, options);
    }
    declared
}

/// A path with `{}` for every part in braces or upper case, without a query.
fn general(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let varies = |part: &str| part.starts_with('{') || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
    path.split('/').map(|part| if varies(part) { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

/// Whether a path is served: as it stands, or as a value of a part that varies.
fn served(path: &str, paths: &BTreeSet<String>) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    paths.iter().any(|known| {
        let known: Vec<&str> = known.split('/').collect();
        known.len() == parts.len() && known.iter().zip(&parts).all(|(k, p)| k == p || *k == "{}")
    })
}

/// What a file of infra/ says that no program understands.
fn unknown(path: &str, text: &str, declared: &Declared) -> Vec<String> {
    let mut found = Vec::new();
    let mut complain = |what: String| found.push(format!("{path}: {what}"));
    let either = |name: &str| declared.command.contains(name) || declared.function.contains(name);
    for name in all(text, r"\b(HALFPIPE_[A-Z0-9_]*[A-Z0-9])\b") {
        if !either(&name) && !OF_SCRIPTS.contains(&name.as_str()) {
            complain(format!("{name} is no variable of the programs"));
        }
    }
    // the form tells whose variable it is: `NAME: value` in a template is a function's, `Name: NAME` and `name: NAME` a container's
    if path.starts_with("infra/lambda/") {
        for name in all(text, r"(?m)^\s+(HALFPIPE_[A-Z0-9_]+): ").into_iter().filter(|name| !declared.function.contains(name)) {
            complain(format!("{name} is no variable of the function (host/lambda)"));
        }
    }
    for name in all(text, r"\b[Nn]ame: (HALFPIPE_[A-Z0-9_]+)").into_iter().filter(|name| !declared.command.contains(name)) {
        complain(format!("{name} is no variable of halfpipe"));
    }
    for (command, options) in calls(text) {
        match declared.options.get(&command) {
            None => complain(format!("halfpipe {command} is no command")),
            Some(known) => {
                for option in options.iter().filter(|option| !known.contains(*option)) {
                    complain(format!("halfpipe {command} has no option --{option}"));
                }
            }
        }
    }
    let ports = r"(?:127\.0\.0\.1:|0\.0\.0\.0:|containerPort: |prometheus\.io/port: '|EXPOSE )(\d+)";
    let exposed = all(text, r"(?m)^EXPOSE \d+ (\d+)$");
    for port in all(text, ports).into_iter().chain(exposed) {
        if !port.parse().is_ok_and(|port| declared.ports.contains(&port)) {
            complain(format!("nothing listens on port {port} by default"));
        }
    }
    let addresses = all(text, r"(?:127\.0\.0\.1:\d+|\$server|\$worker|\$API)(/[\w/{}.-]*)");
    let probes = all(text, r#"(?:path: |prometheus\.io/path: )(/[\w/{}.-]+)"#);
    // a patch of a manifest names a place in it, not one that is served
    let named = addresses.into_iter().chain(probes).filter(|address| !address.starts_with("/spec/"));
    for address in named.filter(|address| !served(&general(address), &declared.paths)) {
        complain(format!("{address} is not served"));
    }
    found
}

/// Calls of the program: command and options, from command lines and from lists of arguments.
fn calls(text: &str) -> Vec<(String, Vec<String>)> {
    // `-n halfpipe` is a namespace
    let joined = text.replace("\\\n", " ").replace("-n halfpipe", "");
    let mut found = Vec::new();
    for line in pattern(r#"(?m)(?:^|[\s`"(/])halfpipe"? ([a-z]+)((?:[^`\n|;&#)])*)"#).captures_iter(&joined) {
        let options = all(&line[2], r"(?:^|\s)--([a-z][a-z0-9-]*)");
        // prose that follows the program's name is no command line
        if !options.is_empty() || ["serve", "worker", "run", "split", "join", "doctor", "bench"].contains(&&line[1]) {
            found.push((line[1].to_owned(), options));
        }
    }
    for list in pattern(r"(?:args|Command|CMD|command): ?\[([a-z]+)((?:, [^\]]*)?)\]").captures_iter(&joined) {
        found.push((list[1].to_owned(), all(&list[2], r#"--([a-z][a-z0-9-]*)"#)));
    }
    found
}

#[test]
fn infra_speaks_the_programs_language() {
    let declared = declared();
    assert!(declared.command.contains("HALFPIPE_STORE") && declared.function.contains("HALFPIPE_STORE"), "variables are read");
    assert!(declared.options.get("serve").is_some_and(|o| o.contains("listen") && o.contains("models")), "options are read");
    assert!(declared.ports.contains(&5000) && declared.paths.contains("/livez"), "ports and paths are read");
    let scripts_of = ["infra/local/"];
    let found: Vec<String> = texts()
        .filter(|(path, _)| path.starts_with("infra/") && !scripts_of.iter().any(|other| path.starts_with(other)))
        .flat_map(|(path, text)| unknown(&path, &text, &declared))
        .collect();
    assert_none("These files of infra/ say what no program understands:", &found);
    assert!(root().join("infra/kubernetes/base/worker.yaml").exists(), "the manifests are where this looks for them");
}

#[test]
fn what_is_renamed_is_found() {
    let declared = Declared {
        command: ["HALFPIPE_STORE", "HALFPIPE_LISTEN"].map(Into::into).into(),
        function: ["HALFPIPE_STORE"].map(Into::into).into(),
        options: [("serve".to_owned(), ["listen".to_owned()].into())].into(),
        ports: [5000].into(),
        paths: ["/livez", "/jobs/{}"].map(Into::into).into(),
    };
    let in_order = "          HALFPIPE_STORE: s3://b\n{ name: HALFPIPE_LISTEN, value: 0.0.0.0:5000 }\nargs: [serve]\npath: /livez\n\
                    halfpipe serve --listen 127.0.0.1:5000\ncurl http://127.0.0.1:5000/jobs/ID\n";
    assert_eq!(unknown("infra/lambda/x.yaml", in_order, &declared), [""; 0]);
    for (wrong, part) in [
        ("{ name: HALFPIPE_STORAGE, value: x }", "HALFPIPE_STORAGE is no variable of the programs"),
        ("          HALFPIPE_LISTEN: x", "no variable of the function"),
        ("args: [work]", "halfpipe work is no command"),
        ("args: [serve, --address, x]", "no option --address"),
        ("`halfpipe serve --address x`", "no option --address"),
        ("- { containerPort: 5001 }", "port 5001"),
        ("EXPOSE 5000 5001", "port 5001"),
        ("httpGet: { path: /health2, port: http }", "/health2 is not served"),
        ("curl http://127.0.0.1:5000/job/ID", "/job/ID is not served"),
    ] {
        let found = unknown("infra/lambda/x.yaml", wrong, &declared);
        assert!(found.iter().any(|complaint| complaint.contains(part)), "{wrong}: {found:?}");
    }
}

#[test]
fn declarations_are_read() {
    let source = "pub struct ServeArgs {\n    /// A\n    #[arg(long, env = \"HALFPIPE_LISTEN\", default_value = \"127.0.0.1:5000\")]\n    pub \
                  listen: SocketAddr,\n    #[arg(long = \"api-key\", env = \"HALFPIPE_API_KEYS\", value_parser = \
                  clap::value_parser!(u64).range(2..=3600))]\n    pub api_keys: Vec<String>,\n    pub input: PathBuf,\n    \
                  #[command(flatten)]\n    pub places: crate::args::Places,\n    #[command(subcommand)]\n    pub then: Then,\n}\n\
                  pub enum Then {\n    Stop {\n        #[arg(long)]\n        at_once: bool,\n    },\n}\n";
    let texts = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let expected = [
        ("ServeArgs".to_owned(), texts(&["listen", "api-key"]), texts(&["Places", "Then"])),
        ("Then".to_owned(), texts(&["at-once"]), texts(&[])),
    ];
    assert_eq!(structs(source), expected);
    assert_eq!(variables(source), ["HALFPIPE_LISTEN", "HALFPIPE_API_KEYS"]);
    let list = "pub enum Command {\n    /// Serve\n    Serve(Box<crate::serve::ServeArgs>),\n    Doctor(DoctorArgs),\n}\n";
    assert_eq!(commands(list), [("serve".to_owned(), "ServeArgs".to_owned()), ("doctor".to_owned(), "DoctorArgs".to_owned())]);
    let text = "Run `halfpipe serve --listen X` or\n    halfpipe worker --queue URL \\\n      --jobs 2\nargs: [serve, --api-key, K]\nhalfpipe is a program";
    let expected = [("serve", texts(&["listen"])), ("worker", texts(&["queue", "jobs"])), ("serve", texts(&["api-key"]))];
    assert_eq!(calls(text), expected.map(|(command, options)| (command.to_owned(), options)));
    assert_eq!(general("/jobs/ID/frames?from=1"), "/jobs/{}/frames");
}
