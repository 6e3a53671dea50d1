//! What is read, what is masked, and what refuses the body.

use super::*;

fn places(pointers: &[&str]) -> Vec<(Box<str>, Box<str>)> {
    pointers.iter().map(|pointer| (format!("f{pointer}").into(), (*pointer).into())).collect()
}

/// The values at the pointers, in short.
fn seen(body: &str, pointers: &[&str]) -> String {
    match read(body.as_bytes(), &places(pointers), DEFAULT_DEPTH) {
        Err(error) => error.code().to_owned(),
        Ok(values) => {
            let shown = values.iter().map(|(name, value)| match value {
                BodyValue::Text(text) => format!("{name}={text:?}"),
                BodyValue::Number(number) => format!("{name}={number}"),
                BodyValue::Bool(truth) => format!("{name}={truth}"),
                BodyValue::Other => format!("{name}=?"),
            });
            shown.collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn places_are_read_as_they_are_written() {
    let body =
        r#" {"amount": 500.10, "to": {"iban": "DE\u0031\n", "a/b~c": true}, "list": [1, {"x": "y"}], "none": null} "#;
    for (pointers, expected) in [
        (&["/amount"][..], "f/amount=500.1"),
        (&["/to/iban", "/to/a~1b~0c"], r#"f/to/iban="DE1\n" f/to/a~1b~0c=true"#),
        (&["/list/0", "/list/1/x", "/list/2", "/list/01"], r#"f/list/0=1 f/list/1/x="y" f/list/01=?"#),
        (&["/to", "/to/iban", "/list"], r#"f/to=? f/to/iban="DE1\n" f/list=?"#),
        (&["/none", "/none/deeper", "/amount/deeper"], "f/none=? f/none/deeper=? f/amount/deeper=?"),
        (&["/missing", "/to/missing", "/list/x"], "f/list/x=?"),
        (&[""], "f=?"),
    ] {
        assert_eq!(seen(body, pointers), expected, "{pointers:?}");
    }
    for (number, expected) in
        [("1e2", "100"), ("-0.50", "-0.5"), ("9007199254740993", "9007199254740993"), ("1E-2", "0.01"), ("-0", "0")]
    {
        assert_eq!(seen(&format!(r#"{{"a":{number}}}"#), &["/a"]), format!("f/a={expected}"));
    }
}

#[test]
fn a_body_that_is_no_object_is_none_of_the_calls_in_it() {
    let wanted = [("/method".into(), "/method".into()), ("/0/method".into(), "/0/method".into())];
    for body in [r#"[{"method":"a"}]"#, "[]", "\"method\"", "1", "null", "true"] {
        let values = read(body.as_bytes(), &wanted, DEFAULT_DEPTH).unwrap();
        assert_eq!(values, [("/method", BodyValue::Other), ("/0/method", BodyValue::Other)], "{body}");
    }
    // Other places may lie in an array.
    assert_eq!(seen(r#"[{"method":"a"}]"#, &["/0/method"]), r#"f/0/method="a""#);
}

#[test]
fn what_is_no_strict_json_is_refused_whole() {
    for body in [
        "",
        " ",
        "{",
        "{}{}",
        "{} x",
        "{\"a\":1,}",
        "[1,]",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":NaN}",
        "{\"a\":0x1}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"\\ud800\":1}",
        "\u{feff}{}",
        "{\"a\":1}\0",
        "/* */{}",
        "{\"a\":1} // b",
        "{\"a\" 1}",
        "{\"a\":tru}",
        "]",
    ] {
        assert_eq!(seen(body, &["/a"]), "malformed_body", "{body}");
    }
    let places = places(&["/a"]);
    for bytes in [&b"{\"a\":\"\xff\"}"[..], b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"{\"a\":\"\xed\xa0\x80\"}"] {
        assert_eq!(read(bytes, &places, DEFAULT_DEPTH).unwrap_err().code(), "malformed_body", "{bytes:?}");
    }
}

#[test]
fn two_readings_of_a_place_refuse_the_body() {
    for body in [
        r#"{"amount":1,"amount":1}"#,
        r#"{"amount":1,"Amount":900}"#,
        r#"{"AMOUNT":900}"#,
        r#"{"amount":1,"am\u006funt":900}"#,
        r#"{"amount":1,"amount\u0000x":900}"#,
        "{\"\u{212a}ey\":1}",
        "{\"\u{17f}um\":1}",
    ] {
        assert_eq!(seen(body, &["/amount", "/key", "/sum"]), "two_keys", "{body}");
    }
    assert_eq!(seen(r#"{"to":{"a":1},"to":{"b":2}}"#, &["/to/b"]), "two_keys", "also on the way");
    assert_eq!(seen(r#"{"x":1,"x":2,"y":{"amount":1,"amount":2},"amount":3}"#, &["/amount"]), "f/amount=3");
    assert_eq!(seen(r#"{"amount":123456789012345678901}"#, &["/amount"]), "inexact_number");
    assert_eq!(seen(r#"{"amount":1e999}"#, &["/amount"]), "inexact_number");
    assert_eq!(seen(r#"{"other":1e999}"#, &["/amount"]), "", "nobody reads it");
    assert_eq!(seen(r#"{"amount":"5\u00000"}"#, &["/amount"]), "f/amount=?");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert_eq!(seen(&nested(32), &["/b"]), "");
    assert_eq!(seen(&nested(33), &["/b"]), "body_too_deep");
    assert_eq!(seen(&"[".repeat(60_000), &["/b"]), "body_too_deep");
    assert_eq!(seen(r#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[[[","b":1}"#, &["/b"]), "f/b=1");
}

#[test]
fn masked_places_are_null_and_the_rest_is_untouched() {
    let masked = |body: &str, pointers: &[&str]| {
        mask(body.as_bytes(), pointers.iter().copied(), DEFAULT_DEPTH).map(|body| String::from_utf8(body).unwrap())
    };
    for (body, pointers, expected) in [
        (r#"{ "iban" : "DE1", "n":1.50 }"#, &["/iban"][..], r#"{ "iban" : null, "n":1.50 }"#),
        (r#"{"a":{"b":[1,{"c":2}]},"d":"x"}"#, &["/a/b/1/c", "/d"], r#"{"a":{"b":[1,{"c":null}]},"d":null}"#),
        (r#"{"a":{"b":1}}"#, &["/a/b", "/a"], r#"{"a":null}"#),
        (r#"{"a":{"b":1}}"#, &["/a", "/a"], r#"{"a":null}"#),
        (r#"{"b":1}"#, &["/a", "/b/c"], r#"{"b":null}"#),
        (r#"{"a":[{"iban":"DE1"}]}"#, &["/a/iban"], r#"{"a":null}"#),
        (r#"[{"iban":"DE1"}]"#, &["/iban"], "null"),
        (r#""DE1""#, &["/iban"], "null"),
        ("{}", &["/iban"], "{}"),
    ] {
        assert_eq!(masked(body, pointers).as_deref(), Ok(expected), "{body} {pointers:?}");
    }
    assert_eq!(masked(r#"{"iban":1,"iban":2}"#, &["/iban"]).unwrap_err().code(), "two_keys");
    assert_eq!(masked("{\"iban\":1}\n{}", &["/iban"]).unwrap_err().code(), "malformed_body");
}
