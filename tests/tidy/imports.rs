//! Who may name whom: the layers of the control plane, and the borders between the packages.

use crate::files::{File, has_word};
use crate::{Finding, found, hold};

/// Names that some files must not name.
struct Border {
    /// A folder, or the module of that name beside it.
    inside: &'static str,
    /// Modules inside that may.
    except: &'static [&'static str],
    names: &'static [&'static str],
    why: &'static str,
}

const BORDERS: [Border; 7] = [
    Border {
        inside: "shared/src",
        except: &[],
        names: &["grantmesh_filter", "grantmesh_control_plane", "grantmesh_tests"],
        why: "`shared` imports nothing of ours: pass what it needs as an argument",
    },
    Border {
        inside: "shared/src/engine",
        except: &[],
        names: &["serde", "serde_json", "serde_saphyr"],
        why: "the engine is not serialisable: derive it on the type in `wire` and convert",
    },
    Border {
        inside: "filter/src",
        except: &[],
        names: &["grantmesh_control_plane"],
        why: "filter and control plane share only grantmesh-shared: move it there",
    },
    Border {
        inside: "control-plane",
        except: &[],
        names: &["grantmesh_filter"],
        why: "filter and control plane share only grantmesh-shared: move it there",
    },
    Border {
        inside: "filter/src",
        except: &[],
        names: &["proxy_wasm"],
        why: "the filter has no SDK: come in through `entry`, go out through `host`",
    },
    Border {
        inside: "control-plane/src/domain",
        except: &[],
        names: &["sqlx", "axum", "tokio", "SystemTime", "Instant", "Utc"],
        why: "the domain is pure: take time as an argument, leave SQL to `store` and HTTP to `http`",
    },
    Border {
        inside: "control-plane/src/http",
        except: &[],
        names: &["sqlx"],
        why: "http writes no SQL: add a use case to `app`",
    },
];

/// Modules of a crate that must not name modules above them.
struct Layer {
    inside: &'static str,
    above: &'static [&'static str],
    why: &'static str,
}

const DOWNWARDS: &str = "imports go only downwards: http, tasks, push -> app -> store -> domain";

const LAYERS: [Layer; 7] = [
    Layer {
        inside: "shared/src/engine",
        above: &["wire"],
        why: "the engine does not know the wire: convert in `wire`",
    },
    Layer {
        inside: "control-plane/src/domain",
        above: &["store", "app", "push", "tasks", "http", "cli"],
        why: DOWNWARDS,
    },
    Layer { inside: "control-plane/src/store", above: &["app", "push", "tasks", "http", "cli"], why: DOWNWARDS },
    Layer { inside: "control-plane/src/app", above: &["push", "tasks", "http", "cli"], why: DOWNWARDS },
    Layer { inside: "control-plane/src/push", above: &["http", "cli"], why: DOWNWARDS },
    Layer { inside: "control-plane/src/tasks", above: &["http", "cli"], why: DOWNWARDS },
    Layer { inside: "control-plane/src/http", above: &["cli"], why: DOWNWARDS },
];

fn borders(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for border in &BORDERS {
        let bound = |file: &&File| {
            let own = |module: &&str| belongs(file, &format!("{}/{module}", border.inside));
            belongs(file, border.inside) && !border.except.iter().any(own)
        };
        for file in files.iter().filter(bound) {
            for (number, code) in file.code() {
                for name in border.names.iter().filter(|name| has_word(code, name)) {
                    let what = format!("names `{name}`: {}", border.why);
                    findings.push(Finding::new(file, number, what));
                }
            }
        }
    }
    findings
}

fn layers(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for layer in &LAYERS {
        for file in files.iter().filter(|file| belongs(file, layer.inside)) {
            for (number, name) in own_modules(file) {
                if layer.above.contains(&name.as_str()) {
                    let what = format!("names `crate::{name}`: {}", layer.why);
                    findings.push(Finding::new(file, number, what));
                }
            }
        }
    }
    findings
}

/// `a/b` holds `a/b.rs` and everything in `a/b/`.
fn belongs(file: &File, module: &str) -> bool {
    let rest = file.path.strip_prefix(module);
    file.is_rust() && rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The modules of the own crate that a file names, `crate::x` and `crate::{x, y::z}` alike, with their lines.
fn own_modules(file: &File) -> Vec<(usize, String)> {
    let code: Vec<(usize, &str)> = file.code().collect();
    let mut found = Vec::new();
    for (index, (number, line)) in code.iter().enumerate() {
        for (at, root) in line.match_indices("crate::") {
            let rest = line.get(at + root.len()..).unwrap_or_default();
            let Some(group) = rest.strip_prefix('{') else {
                found.push((*number, name_at_start(rest)));
                continue;
            };
            let below = code.iter().skip(index + 1).copied();
            found.extend(names_of_group(std::iter::once((*number, group)).chain(below)));
        }
    }
    found
}

/// The first names of each item of a braced group, up to its closing brace.
fn names_of_group<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let (mut depth, mut begins) = (1_usize, true);
    for (number, line) in lines {
        for (at, c) in line.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ',' => begins = depth == 1,
                c if begins && !c.is_whitespace() => {
                    names.push((number, name_at_start(line.get(at..).unwrap_or_default())));
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                return names;
            }
        }
    }
    names
}

fn name_at_start(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn packages_keep_their_borders() {
    hold(borders);
}

#[test]
fn imports_go_downwards() {
    hold(layers);
}

#[test]
fn planted_border_crossings_are_found() {
    let bad = [
        ("shared/src/lib.rs", "use grantmesh_filter::x;"),
        ("shared/src/engine.rs", "use serde::Serialize;"),
        ("shared/src/engine/grant.rs", "#[derive(serde::Serialize)]"),
        ("filter/src/sync.rs", "use grantmesh_control_plane::x;"),
        ("control-plane/src/app/x.rs", "use grantmesh_filter::x;"),
        ("control-plane/tests/x.rs", "use grantmesh_filter::x;"),
        ("filter/src/flow.rs", "use proxy_wasm::types::Action;"),
        ("filter/src/host.rs", "use proxy_wasm::hostcalls;"),
        ("control-plane/src/domain.rs", "use std::time::SystemTime;"),
        ("control-plane/src/domain/grant.rs", "let p: sqlx::Pool;"),
        ("control-plane/src/http/grants.rs", "sqlx::query(q)"),
    ];
    for (path, text) in bad {
        assert_eq!(found(borders, &[(path, text)]), [format!("{path}:1")], "{text}");
    }
    let good = [
        ("shared/src/wire.rs", "use serde::Serialize;"),
        ("filter/src/flow.rs", "// proxy_wasm is far away"),
        ("control-plane/src/domain/grant.rs", "use time::Duration;"),
        ("control-plane/src/store.rs", "use sqlx::Pool;"),
    ];
    assert!(found(borders, &good).is_empty());
}

#[test]
fn planted_upward_imports_are_found() {
    let bad = [
        ("shared/src/engine/grant.rs", "use crate::wire::Grant;", 1),
        ("control-plane/src/domain/grant.rs", "use crate::store;", 1),
        ("control-plane/src/store/grants.rs", "fn f() { crate::app::f() }", 1),
        ("control-plane/src/app.rs", "use crate::{\n    domain::{http, X},\n    http::Y,\n};", 3),
        ("control-plane/src/push/hub.rs", "use crate::{domain, http};", 1),
    ];
    for (path, text, line) in bad {
        assert_eq!(found(layers, &[(path, text)]), [format!("{path}:{line}")], "{text}");
    }
    let good = [
        ("shared/src/wire/grant.rs", "use crate::engine::Grant;"),
        ("control-plane/src/http/a.rs", "use crate::{app, store::X, push};"),
        ("control-plane/src/store/a.rs", "use crate::domain::{http, app};\nuse crate::application;"),
        ("control-plane/src/lib.rs", "use crate::http;"),
    ];
    assert!(found(layers, &good).is_empty());
}
