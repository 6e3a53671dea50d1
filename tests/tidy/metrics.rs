//! Rules on metrics: `docs/metrics.md` has every one that the sources have, and no other.

use crate::files::File;
use crate::pages::{compare, rows};
use crate::{Finding, found, hold};

/// The page.
const PAGE: &str = "docs/metrics.md";

/// Where the names of a section's metrics are written, and how they begin there.
struct Section {
    title: &'static str,
    below: &'static str,
    openings: &'static [&'static str],
}

const SECTIONS: [Section; 2] = [
    // The enumeration of counters has their names in its documentation; gauges and histograms are texts.
    Section { title: "## Of the filter", below: "filter/src/", openings: &["/// `grantmesh.", "\"grantmesh."] },
    Section {
        title: "## Of the control plane",
        below: "control-plane/src/http/metrics.rs",
        openings: &["registry.register("],
    },
];

fn metrics(files: &[File]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else { return Vec::new() };
    SECTIONS.iter().flat_map(|section| section.compare(page, files)).collect()
}

impl Section {
    fn compare(&self, page: &File, files: &[File]) -> Vec<Finding> {
        let listed = rows(page, self.title).map(|(line, name, rest)| {
            // OpenMetrics writes it behind counters, which are registered without it.
            let counts = self.openings == ["registry.register("] && rest.starts_with("counter");
            let name = if counts { name.strip_suffix("_total").unwrap_or(name) } else { name };
            (name.to_owned(), line)
        });
        let sources = files.iter().filter(|file| file.path.starts_with(self.below));
        compare(page, self.title, "metric", &listed.collect(), sources.flat_map(|file| self.written(file)))
    }

    /// The names that a file writes, with their lines, as Prometheus reads them.
    fn written<'f>(&self, file: &'f File) -> Vec<(&'f File, usize, String)> {
        let text = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        let places =
            self.openings.iter().flat_map(|opening| text.match_indices(opening).map(|(at, found)| at + found.len()));
        places
            .filter_map(|at| {
                // What ends with a dot is a beginning of other names.
                let rest = text.get(at..).filter(|rest| !rest.starts_with('"') || self.openings.len() == 1)?;
                let name = rest.trim_start().trim_start_matches('"').split(['"', '`']).next()?;
                // `{service,outcome}` are labels.
                let (group, word) = name
                    .split_once('{')
                    .map_or((name, ""), |(group, rest)| (group, rest.split('}').nth(1).unwrap_or("")));
                let name = format!("{group}{word}").replace('.', "_");
                let line = text.get(..at)?.matches('\n').count() + 1;
                (!name.is_empty() && !name.ends_with('_')).then(|| (file, line, format!("grantmesh_{name}")))
            })
            .collect()
    }
}

#[test]
fn every_metric_is_in_the_page_and_no_other() {
    hold(metrics);
}

#[test]
fn planted_metrics_are_found() {
    let page = "## Of the filter\n| `grantmesh_held` | gauge | x |\n| `grantmesh_gone` | gauge | x |\n| `grantmesh_calls_total` | counter | x |\n## Of the control plane\n| `grantmesh_http_total` | counter | x |\n";
    let filter =
        "/// `grantmesh.calls.{word}total`: x.\nlet x = (\"grantmesh.held\", 1);\nlet y = \"grantmesh.table.new\";\n";
    let server = "registry.register(\"http\", \"x\");\nregistry.register(\n  \"other\",\n";
    let planted = [(PAGE, page), ("filter/src/plugin.rs", filter), ("control-plane/src/http/metrics.rs", server)];
    assert_eq!(
        found(metrics, &planted),
        ["filter/src/plugin.rs:3", "docs/metrics.md:3", "control-plane/src/http/metrics.rs:2"]
    );
}
