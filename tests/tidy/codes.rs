//! Rules on the codes of refusals: `docs/errors.md` has every one that the sources have, and no other.

use crate::files::File;
use crate::pages::{compare, rows};
use crate::{Finding, found, hold};

/// The page.
const PAGE: &str = "docs/errors.md";

/// A section of the page, and the sources whose codes it has.
struct Section {
    title: &'static str,
    /// Functions of these files give codes and nothing else.
    functions: &'static [&'static str],
    /// Below these, codes are also written where a refusal is made.
    made_below: &'static [&'static str],
}

const SECTIONS: [Section; 2] = [
    Section {
        title: "## Of the control plane",
        functions: &["control-plane/src/app/error.rs", "control-plane/src/http/problem.rs"],
        made_below: &[],
    },
    Section {
        title: "## Of the filter",
        functions: &[
            "shared/src/body.rs",
            "shared/src/engine/canonical.rs",
            "shared/src/engine/query.rs",
            "shared/src/engine/reason.rs",
            "filter/src/facts.rs",
            "filter/src/flow.rs",
            "filter/src/flow/hold.rs",
            "filter/src/flow/own.rs",
            "filter/src/http.rs",
            "filter/src/masking.rs",
            "filter/src/offline.rs",
        ],
        made_below: &["filter/src/"],
    },
];

fn codes(files: &[File]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else { return Vec::new() };
    SECTIONS.iter().flat_map(|section| section.compare(page, files)).collect()
}

impl Section {
    fn compare(&self, page: &File, files: &[File]) -> Vec<Finding> {
        let listed = rows(page, self.title).map(|(line, code, _)| (code.to_owned(), line)).collect();
        let written = files.iter().flat_map(|file| self.written(file));
        let written = written.map(|(file, line, code)| (file, line, code.to_owned()));
        compare(page, self.title, "code", &listed, written)
    }

    /// The codes that a file writes, with their lines.
    fn written<'f>(&self, file: &'f File) -> Vec<(&'f File, usize, &'f str)> {
        let whole = self.functions.contains(&file.path.as_str());
        let made = file.is_rust() && self.made_below.iter().any(|folder| file.path.starts_with(folder));
        let text = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        let bodies = if whole { bodies(text) } else { Vec::new() };
        let mut found = Vec::new();
        for (at, code) in literals(text) {
            let in_function = bodies.iter().any(|body| body.contains(&at));
            let before = text.get(..at).unwrap_or_default().trim_end();
            if in_function || (made && makes_a_refusal(before)) || (whole && before.ends_with("=> (")) {
                let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
                found.push((file, line, code));
            }
        }
        found
    }
}

/// Where the functions stand that give codes.
fn bodies(text: &str) -> Vec<std::ops::Range<usize>> {
    let begins = |name: &'static str| text.match_indices(name).map(|(at, _)| at);
    let all = begins("fn code(").chain(begins("fn status_and_code(")).chain(begins("fn push_status_and_code("));
    let body = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        let ends = ["\n    }\n", "\n}\n"].iter().filter_map(|end| rest.find(end)).min();
        at..at + ends.unwrap_or(rest.len())
    };
    all.map(body).collect()
}

/// Texts in quotes that are written like codes, with the place of their opening quote.
fn literals(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('"') {
        let rest = text.get(at + 1..).unwrap_or_default();
        let word = rest.split('"').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if word.len() > 1 && word.chars().all(plain) && word.starts_with(|c: char| c.is_ascii_lowercase()) {
            found.push((at, word));
        }
    }
    found
}

/// Whether what stands before a text makes it the code of a refusal: `(413, "…"`, `blind("…"`, `code: "…"`.
fn makes_a_refusal(before: &str) -> bool {
    if ["blind(", "refused(", "code:", "Problem::new(status,"].iter().any(|opening| before.ends_with(opening)) {
        return true;
    }
    let Some(call) = before.strip_suffix(',').map(str::trim_end) else { return false };
    let opening = call.trim_end_matches(|c: char| c.is_ascii_digit());
    let status = call.get(opening.len()..).unwrap_or_default();
    status.len() == 3 && status.starts_with(['4', '5']) && opening.trim_end().ends_with('(')
}

#[test]
fn every_code_is_in_the_page_and_no_other() {
    hold(codes);
}

#[test]
fn planted_codes_are_found() {
    let page = "## Of the control plane\n| `not_found` | 404 | x |\n| `gone` | 410 | x |\n## Of the filter\n| `stale` | 403 | x |\n| `late` | 408 | x |\n";
    let error =
        "fn code(&self) {\n  match self { A => \"not_found\", B => \"brand_new\" }\n}\n\nfn other() { \"other\" }\n";
    let flow = "fn code(&self) {\n \"stale\"\n}\nBody::new(\n    408,\n    \"late\",\n    \"a detail\")\nblind(\"unseen\", \"x\")\n";
    let planted = [(PAGE, page), ("control-plane/src/app/error.rs", error), ("filter/src/flow.rs", flow)];
    assert_eq!(
        found(codes, &planted),
        ["control-plane/src/app/error.rs:2", "docs/errors.md:3", "filter/src/flow.rs:8"]
    );
}
