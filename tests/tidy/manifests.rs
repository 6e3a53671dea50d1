//! Rules on the Cargo.toml files: the lints of the workspace everywhere, and no dependency that the layout forbids.

use crate::files::File;
use crate::{Finding, found, hold};

/// Packages that must not depend on others of ours.
const APART: [(&str, &[&str]); 4] = [
    ("shared/Cargo.toml", &["grantmesh-"]),
    ("shared/browser/Cargo.toml", &["grantmesh-filter", "grantmesh-control-plane"]),
    ("filter/Cargo.toml", &["grantmesh-control-plane", "grantmesh-tests"]),
    ("control-plane/Cargo.toml", &["grantmesh-filter", "grantmesh-tests"]),
];

fn lints(files: &[File]) -> Vec<Finding> {
    let Some(root) = files.iter().find(|file| file.path == "Cargo.toml") else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (number, member) in members(root) {
        let path = format!("{member}/Cargo.toml");
        match files.iter().find(|file| file.path == path) {
            None => findings.push(Finding::new(root, number, format!("the member `{member}` has no Cargo.toml"))),
            Some(manifest) if !inherits_lints(manifest) => {
                findings.push(Finding::new(manifest, 1, "add `[lints]` with `workspace = true`"));
            }
            Some(_) => {}
        }
    }
    findings
}

/// The quoted paths of the list `members`, with their lines.
fn members(root: &File) -> Vec<(usize, String)> {
    let mut lines = root.lines().skip_while(|(_, line)| !line.trim_start().starts_with("members"));
    let mut found = Vec::new();
    for (number, line) in lines.by_ref() {
        let quoted = line.split('"').skip(1).step_by(2);
        found.extend(quoted.map(|member| (number, member.to_owned())));
        if line.contains(']') {
            break;
        }
    }
    found
}

fn inherits_lints(manifest: &File) -> bool {
    let mut section = manifest.lines().map(|(_, line)| line.trim()).skip_while(|line| *line != "[lints]");
    section.next();
    let own = section.take_while(|line| !line.starts_with('['));
    own.into_iter().any(|line| line.replace(' ', "") == "workspace=true")
}

fn apart(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, forbidden) in APART {
        for manifest in files.iter().filter(|file| file.path == path) {
            let mut dependencies = false;
            for (number, line) in manifest.lines() {
                if line.starts_with('[') {
                    dependencies = line.contains("dependencies");
                }
                let named = forbidden.iter().find(|name| line.trim_start().starts_with(**name));
                if let (true, Some(name)) = (dependencies, named) {
                    let what = format!(
                        "depends on `{name}...`: the layout keeps them apart, move what they share to grantmesh-shared"
                    );
                    findings.push(Finding::new(manifest, number, what));
                }
            }
        }
    }
    findings
}

#[test]
fn every_package_has_the_lints_of_the_workspace() {
    hold(lints);
}

#[test]
fn packages_do_not_depend_on_each_other_across_the_layout() {
    hold(apart);
}

#[test]
fn planted_packages_without_lints_are_found() {
    let root = ("Cargo.toml", "[workspace]\nmembers = [\n  \"a\", \"b\",\n  \"c\",\n]\n[lints]\n");
    let good = ("a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n");
    let bad = ("b/Cargo.toml", "[package]\n[lints]\n[dependencies]\nx.workspace = true\nworkspace = true\n");
    assert_eq!(found(lints, &[root, good, bad]), ["b/Cargo.toml:1", "Cargo.toml:4"]);
}

#[test]
fn planted_dependencies_are_found() {
    let planted = [
        (
            "shared/Cargo.toml",
            "[package]\nname = \"grantmesh-shared\"\n[dev-dependencies]\ngrantmesh-tests.workspace = true",
        ),
        ("control-plane/Cargo.toml", "[dependencies]\ngrantmesh-shared.workspace = true\ngrantmesh-filter = \"1\""),
    ];
    assert_eq!(found(apart, &planted), ["shared/Cargo.toml:4", "control-plane/Cargo.toml:3"]);
}
