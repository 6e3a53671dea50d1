//! Messages that no client sends: sensible requests with wrong bytes in any place, and bytes that were never a request. Made from
//! [`Dice`], so that a run can be had again.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::dice::Dice;

/// How long to wait for more of an answer before the connection is given up.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the proxy may take to close a connection that the caller has closed.
const FAREWELL: Duration = Duration::from_secs(10);

const METHODS: &[&[u8]] = &[
    b"GET", b"GET", b"GET", b"POST", b"POST", b"HEAD", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE", b"get", b"G\xffT",
    b"", b"PRI",
];

const PATHS: &[&[u8]] = &[
    b"/v1/accounts/acc-42",
    b"/v1/accounts/acc-42",
    b"/v1/accounts/acc-42/refunds",
    b"/v1/accounts/acc-43/refunds",
    b"/v1/accounts/%F0%9F%92%B6",
    b"/",
    b"*",
    b"",
    b"http://payments.example.com/v1/accounts/acc-42",
    b"//v1/accounts/acc-42",
    b"/v1/accounts/\xff\xfe",
    b"/v1/accounts/acc-42?a=b&a=%zz&_method=DELETE",
    b"/pay.Refunds/Create",
];

const NAMES: &[&[u8]] = &[
    b"host",
    b"content-type",
    b"content-length",
    b"transfer-encoding",
    b"te",
    b"trailer",
    b"expect",
    b"upgrade",
    b"connection",
    b"cookie",
    b"x-http-method-override",
    b"x-original-url",
    b"x-request-id",
    b"x-forwarded-for",
    b"forwarded",
    b"origin",
    b"grpc-timeout",
    b"access-control-request-method",
    b"x-envoy-max-retries",
    b"x-grantmesh-revision",
    b"x-envoy-upstream-rq-timeout-ms",
    b"range",
    b"x_y",
    b"",
    b"x y",
    b"x:",
    b"\xc3\xa9",
    b"authorization",
    b":path",
    b":authority",
    b":status",
];

const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"99999999999999999999",
    b"chunked",
    b"identity",
    b"gzip, chunked",
    b"chunked, chunked",
    b"trailers",
    b"close",
    b"keep-alive, upgrade",
    b"websocket",
    b"h2c",
    b"100-continue",
    b"application/grpc",
    b"application/json",
    b"multipart/form-data",
    b"payments.example.com",
    b"a, b",
    b"\xff\xfe\x80",
    b"\xc3\xa9",
    b"a\tb",
    b"a\0b",
    b"1n",
    b"Bearer",
    b"Bearer a.b.c",
    b"bytes=0-",
    b"99999999999999.0",
];

/// One message: HTTP/1, HTTP/2 or anything, with one of the tokens or none.
pub fn message(dice: &mut Dice, tokens: &[String]) -> Vec<u8> {
    let mut bytes = match dice.below(8) {
        0 => return dice.bytes(600),
        1..=3 => http2(dice, tokens),
        _ => http1(dice, tokens),
    };
    if dice.once_in(2) {
        for _ in 0..=dice.below(4) {
            spoil(dice, &mut bytes);
        }
    }
    bytes
}

/// Changes, inserts, removes or repeats some bytes.
fn spoil(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(5) {
        0 => {
            let junk = dice.bytes(8);
            bytes.splice(at..at, junk);
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(dice.roll() & 0xff).unwrap_or(0);
            }
        }
        2 => {
            let end = (at + dice.below(12)).min(bytes.len());
            bytes.drain(at..end);
        }
        3 => {
            let end = (at + dice.below(64)).min(bytes.len());
            let again = bytes.get(at..end).unwrap_or_default().to_vec();
            bytes.splice(at..at, again);
        }
        _ => bytes.truncate(at),
    }
}

fn one_of<'t>(dice: &mut Dice, choice: &[&'t [u8]]) -> &'t [u8] {
    dice.pick(choice).copied().unwrap_or_default()
}

/// Headers beside those that every request needs.
fn headers(dice: &mut Dice, tokens: &[String]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut headers = Vec::new();
    if !dice.once_in(4)
        && let Some(token) = dice.pick(tokens)
    {
        headers.push((b"authorization".to_vec(), token.clone().into_bytes()));
    }
    for _ in 0..dice.below(6) {
        let name = if dice.once_in(5) { dice.bytes(24) } else { one_of(dice, NAMES).to_vec() };
        let value = if dice.once_in(5) { dice.bytes(200) } else { one_of(dice, VALUES).to_vec() };
        headers.push((name, value));
    }
    if dice.once_in(40) {
        headers.push((b"x-long".to_vec(), vec![b'a'; dice.below(90_000)]));
    }
    if dice.once_in(40) {
        headers.extend((0..dice.below(110)).map(|at| (format!("x-{at}").into_bytes(), b"1".to_vec())));
    }
    headers
}

fn http1(dice: &mut Dice, tokens: &[String]) -> Vec<u8> {
    let mut bytes = one_of(dice, METHODS).to_vec();
    bytes.push(b' ');
    bytes.extend_from_slice(one_of(dice, PATHS));
    let versions: [&[u8]; 6] =
        [b" HTTP/1.1\r\n", b" HTTP/1.1\r\n", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/9.9\r\n", b"\r\n"];
    bytes.extend_from_slice(one_of(dice, &versions));
    if !dice.once_in(10) {
        bytes.extend_from_slice(b"host: payments.example.com\r\n");
    }
    for (name, value) in headers(dice, tokens) {
        bytes.extend_from_slice(&name);
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(&value);
        bytes.extend_from_slice(b"\r\n");
    }
    match dice.below(4) {
        0 => {
            bytes.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            for _ in 0..dice.below(4) {
                let chunk = dice.bytes(40);
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len().max(1)).as_bytes());
                bytes.extend_from_slice(if chunk.is_empty() { b"x" } else { &chunk });
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n");
            if dice.once_in(2) {
                bytes.extend_from_slice(b"x-trailer: \xff\r\nauthorization: Bearer x\r\n");
            }
            bytes.extend_from_slice(b"\r\n");
        }
        1 => {
            let body = dice.bytes(100);
            bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(&body);
        }
        _ => bytes.extend_from_slice(b"\r\n"),
    }
    bytes
}

fn http2(dice: &mut Dice, tokens: &[String]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, 4, 0, 0, &[]);
    for stream in (1..).step_by(2).take(1 + dice.below(4)) {
        let mut block = Vec::new();
        let mut fields = vec![
            (b":method".to_vec(), one_of(dice, METHODS).to_vec()),
            (b":path".to_vec(), one_of(dice, PATHS).to_vec()),
            (b":scheme".to_vec(), b"http".to_vec()),
            (b":authority".to_vec(), b"payments.example.com".to_vec()),
        ];
        if dice.once_in(8) {
            let gone = dice.below(fields.len());
            fields.remove(gone);
        }
        fields.extend(headers(dice, tokens));
        for (name, value) in &fields {
            literal(&mut block, name, value);
        }
        if dice.once_in(6) {
            block.extend(dice.bytes(20));
        }
        let ends = u8::from(dice.once_in(2));
        let (head, more) = block.split_at(dice.below(block.len() + 1).min(16_000));
        // In one frame, or with the rest in continuations.
        if dice.once_in(3) {
            frame(&mut bytes, 1, ends, stream, head);
            for (at, part) in more.chunks(16_000).enumerate() {
                frame(&mut bytes, 9, if (at + 1) * 16_000 >= more.len() { 4 } else { 0 }, stream, part);
            }
        } else {
            frame(&mut bytes, 1, ends | 4, stream, block.get(..16_000).unwrap_or(&block));
        }
        if ends == 0 {
            frame(&mut bytes, 0, u8::from(dice.once_in(2)), stream, &dice.bytes(200));
            let mut trailers = Vec::new();
            literal(&mut trailers, b"x-trailer", &dice.bytes(20));
            frame(&mut bytes, 1, 5, stream, &trailers);
        }
        if dice.once_in(4) {
            frame(&mut bytes, 3, 0, stream, &[0, 0, 0, 8]);
        }
        if dice.once_in(4) {
            let (kind, flags) = (dice.roll().to_le_bytes()[0] % 14, dice.roll().to_le_bytes()[0]);
            let on = u32::try_from(dice.below(8)).unwrap_or(0);
            let junk = dice.bytes(40);
            frame(&mut bytes, kind, flags, on, &junk);
        }
    }
    bytes
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(length.get(1..).unwrap_or_default());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A header field in HPACK, without index and without Huffman's code.
fn literal(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    for text in [name, value] {
        match u8::try_from(text.len()).ok().filter(|length| *length < 0x7f) {
            Some(length) => out.push(length),
            None => {
                out.push(0x7f);
                let mut rest = text.len() - 0x7f;
                while rest >= 0x80 {
                    out.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
                    rest >>= 7;
                }
                out.push(u8::try_from(rest).unwrap_or(0));
            }
        }
        out.extend_from_slice(text);
    }
}

/// Sends a message on a connection of its own, takes what comes, and leaves. What the answer began with: a status of HTTP/1,
/// `h2` for frames, or `closed`.
///
/// # Errors
/// If the proxy does not close the connection in the end.
pub async fn throw(address: SocketAddr, message: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // It may be refused and closed before all of it is sent.
    let _sent = tokio::time::timeout(FAREWELL, stream.write_all(message)).await?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4_096]);
    while let Ok(Ok(read)) = tokio::time::timeout(PAUSE, stream.read(&mut buffer)).await {
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if read == 0 {
            break;
        }
    }
    let _gone = stream.shutdown().await;
    tokio::time::timeout(FAREWELL, async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} })
        .await
        .context("the proxy keeps a connection that its caller has closed")?;
    let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    Ok(match status.and_then(|status| std::str::from_utf8(status).ok()) {
        Some(status) => status.to_owned(),
        None if answer.is_empty() => "closed".to_owned(),
        None => "h2".to_owned(),
    })
}
