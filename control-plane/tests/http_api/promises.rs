//! What the documents name exists: every command with its flags, every variable, every route, every exit code.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory as _};
use grantmesh_control_plane::cli::Cli;
use grantmesh_control_plane::http::openapi;

use super::cli::grantmesh;

const DOCUMENTS: [(&str, &str); 6] = [
    ("README.md", include_str!("../../../README.md")),
    ("ARCHITECTURE.md", include_str!("../../../ARCHITECTURE.md")),
    ("CHANGELOG.md", include_str!("../../../CHANGELOG.md")),
    ("CONTRIBUTING.md", include_str!("../../../CONTRIBUTING.md")),
    ("docs/errors.md", include_str!("../../../docs/errors.md")),
    ("shared/policies/README.md", include_str!("../../../shared/policies/README.md")),
];

/// The command line with what clap adds to it.
fn program() -> Command {
    let mut program = Cli::command();
    program.build();
    program
}

/// Code in a document: spans in backticks, and the lines of fenced blocks.
fn code(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut fenced, mut prose) = (false, String::new());
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push(line.to_owned());
        } else {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    found.extend(prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
    found
}

/// What is wrong with the commands in a piece of code.
fn wrong(code: &str, program: &Command) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, _) in code.match_indices("grantmesh ") {
        let begins = code[..at].chars().next_back().is_none_or(|before| " (\"'`$".contains(before));
        let rest = code[at + "grantmesh ".len()..].split([')', '&', '#', ';']).next().unwrap_or_default();
        let words: Vec<&str> = rest.split_whitespace().take_while(|word| !["|", "--", "…"].contains(word)).collect();
        let Some(first) = words.first().filter(|_| begins) else { continue };
        if !first.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-' || letter == '|') {
            continue;
        }
        let (mut commands, mut flags) = (vec![program], Vec::new());
        let mut descending = true;
        for word in words {
            if let Some(flag) = word.trim_start_matches(['[', '(']).strip_prefix("--") {
                let name = flag.split(|letter: char| !letter.is_ascii_lowercase() && letter != '-').next().unwrap();
                flags.push(name.to_owned());
            } else if descending {
                let named: Vec<_> = word.split('|').map(|name| commands[0].find_subcommand(name)).collect();
                if named.iter().all(Option::is_some) {
                    commands = named.into_iter().flatten().collect();
                } else if commands[0].has_subcommands() && commands[0].is_subcommand_required_set() {
                    faults.push(format!("there is no command `{word}` in `{code}`"));
                    descending = false;
                } else {
                    descending = false;
                }
            }
        }
        for flag in flags {
            let has = |command: &Command| command.get_arguments().any(|known| known.get_long() == Some(&flag));
            if !commands.iter().any(|command| has(command)) {
                faults.push(format!("there is no `--{flag}` in `{code}`"));
            }
        }
    }
    faults
}

#[test]
fn commands_and_flags_of_the_documents_exist() {
    let program = program();
    let mut faults = Vec::new();
    for (name, text) in DOCUMENTS {
        for code in code(text) {
            faults.extend(wrong(&code, &program).into_iter().map(|fault| format!("{name}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for planted in ["grantmesh requsts", "$(grantmesh token ann --grup x)", "grantmesh lock create|delete"] {
        assert_eq!(wrong(planted, &program).len(), 1, "{planted}");
    }
    assert_eq!(wrong("grantmesh lock create|remove|list --json", &program), Vec::<String>::new());
}

fn variables(command: &Command, into: &mut BTreeSet<String>) {
    into.extend(command.get_arguments().filter_map(|known| known.get_env()?.to_str().map(str::to_owned)));
    command.get_subcommands().for_each(|inner| variables(inner, into));
}

#[test]
fn variables_of_the_documents_exist() {
    let mut known = BTreeSet::new();
    variables(&program(), &mut known);
    for (name, text) in DOCUMENTS {
        for (at, _) in text.match_indices("GRANTMESH_") {
            let end = |letter: char| !letter.is_ascii_uppercase() && letter != '_';
            let variable = text[at..].split(end).next().unwrap();
            assert!(known.contains(variable), "{name}: `{variable}` is no variable of the command line");
        }
    }
}

#[test]
fn routes_of_the_documents_exist() {
    let document = openapi();
    let known: Vec<Vec<&str>> =
        document["paths"].as_object().unwrap().keys().map(|path| path.split('/').collect()).collect();
    let exists = |path: &str| {
        let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let fits = |template: &Vec<&str>, whole: bool| {
            (template.len() == segments.len() || (!whole && template.len() > segments.len()))
                && segments
                    .iter()
                    .zip(template)
                    .all(|(have, want)| have == want || want.starts_with('{') || *have == "*")
        };
        known.iter().any(|template| fits(template, !path.ends_with('/') && !path.ends_with('*')))
    };
    let mut looked_at = 0;
    for (name, text) in DOCUMENTS.iter().filter(|(name, _)| !name.starts_with("shared/")) {
        for code in code(text) {
            for begin in ["/v1/", "/filter/v1/"] {
                for (at, _) in code.match_indices(begin) {
                    // Only where a path begins: at the start, behind a method or a quote.
                    if code[..at].chars().next_back().is_some_and(|before| !" `\"".contains(before)) {
                        continue;
                    }
                    let end = |letter: char| !letter.is_ascii_alphanumeric() && !"/_-{}*.".contains(letter);
                    let path = code[at..].split(end).next().unwrap();
                    looked_at += 1;
                    assert!(exists(path), "{name}: there is no route `{path}`");
                }
            }
        }
    }
    assert!(looked_at > 5 && !exists("/v1/nothing") && exists("/v1/requests/{id}") && exists("/filter/v1/*"));
}

#[tokio::test]
async fn exit_codes_are_documented() {
    let help = grantmesh(&["--help"], &[]).await.fine();
    let (_, codes) = help.split_once("Exit codes:\n").expect("the help tells exit codes");
    let codes: Vec<(&str, &str)> = codes.lines().filter_map(|line| line.trim().split_once("  ")).collect();
    assert_eq!(codes.len(), 7, "{codes:?}");
    for (code, means) in codes {
        let row = format!("| {code} | {} |", means.trim());
        assert!(DOCUMENTS[0].1.contains(&row), "README.md does not have `{row}`");
    }
}
