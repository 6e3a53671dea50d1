//! The results of cases as JUnit XML, for what builds show: a suite for each file, a test for each case.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::test::CaseResult;

/// The report.
pub(super) fn report(results: &[CaseResult]) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let counts = counts(results);
    let suites = writer.create_element("testsuites").with_attribute(("name", "grantmesh policy test"));
    suites.with_attributes(pairs(&counts)).write_inner_content(|writer| {
        for suite in results.chunk_by(|one, other| one.file == other.file) {
            let counts = self::counts(suite);
            let name = plain(suite.first().map_or("", |first| &first.file));
            let element = writer.create_element("testsuite").with_attribute(("name", name.as_str()));
            element
                .with_attributes(pairs(&counts))
                .write_inner_content(|writer| suite.iter().try_for_each(|result| case(writer, result)))?;
        }
        Ok(())
    })?;
    Ok(writer.into_inner())
}

fn case(writer: &mut Writer<Vec<u8>>, result: &CaseResult) -> io::Result<()> {
    let name = plain(&format!("line {}: {}", result.line, result.call));
    let file = plain(&result.file);
    let element = writer.create_element("testcase");
    let element = element.with_attribute(("name", name.as_str())).with_attribute(("classname", file.as_str()));
    if result.passed {
        element.write_empty()?;
        return Ok(());
    }
    element.write_inner_content(|writer| {
        let message = plain(&format!("expected {}, found {}", result.expected, result.found));
        let failure = writer.create_element("failure").with_attribute(("message", message.as_str()));
        failure.write_text_content(BytesText::new(&plain(&result.why().join("\n"))))?;
        Ok(())
    })?;
    Ok(())
}

/// How many there are, and how many failed.
fn counts(results: &[CaseResult]) -> [(&'static str, String); 3] {
    let failed = results.iter().filter(|result| !result.passed).count();
    [("tests", results.len().to_string()), ("failures", failed.to_string()), ("errors", "0".to_owned())]
}

fn pairs<'c>(counts: &'c [(&'static str, String); 3]) -> impl Iterator<Item = (&'c str, &'c str)> {
    counts.iter().map(|(name, value)| (*name, value.as_str()))
}

/// A text without the characters that XML cannot hold in any spelling.
fn plain(text: &str) -> String {
    let fine = |letter: char| match letter {
        '\t' | '\n' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => !other.is_control(),
    };
    text.chars().map(|letter| if fine(letter) { letter } else { '\u{fffd}' }).collect()
}
