//! The table of ambiguous calls, `vectors.txt`: what becomes of each by the filter alone.

use super::tests::{Case, case};

const TABLE: &str = include_str!("vectors.txt");

/// `\xNN` is a byte.
fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// A call of the table; the `host` of a line takes the place of the usual one where it is another spelling of a single host.
fn call(line: &str) -> Case {
    let mut parts = line.split(" | ");
    let (method, target) = parts.next().unwrap().split_once(' ').unwrap();
    let mut call = case(method, "");
    call.headers[1].1 = unescaped(target);
    for header in parts {
        let (name, value) = header.split_once(": ").unwrap();
        if name == "host" && !value.starts_with("other.") {
            call.headers[2].1 = unescaped(value);
        } else {
            call.headers.push((name.as_bytes().to_vec(), unescaped(value)));
        }
    }
    call
}

#[test]
fn every_vector_of_the_table_has_its_outcome() {
    let mut heading = "";
    let (mut calls, mut refused) = (0, 0);
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text;
        }
        if line.starts_with('#') {
            continue;
        }
        let (text, expected) = line.split_once(" => ").unwrap();
        assert!(!heading.is_empty(), "{line} has no heading that says where it comes from");
        let ran = call(&text.replace("acc-42/refunds", "acc-1/refunds")).run();
        let status = ran.reply.as_ref().map(|reply| reply.status);
        let seen = match status {
            None => "allow",
            Some(403) => "deny",
            Some(_) => ran.reason,
        };
        assert_eq!(seen, expected, "{heading}: {line}");
        calls += 1;
        if status == Some(400) {
            refused += 1;
            assert!(ran.event.is_some(), "every refusal is recorded: {line}");
        }
    }
    assert!(calls > 100 && refused > 90, "{calls} calls, {refused} refused");
}
