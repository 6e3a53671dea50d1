//! Servers with parsers of their own behind one Envoy: hyper in this process, Node, Python and nginx as processes, each on a
//! socket file. Each answers with the header `x-served`: the action and resource that it took the call for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::parts::part;
use crate::process::Process;
use crate::wait::{PATIENCE, until};

/// The names of the back ends; each has its socket `NAME.sock` in the folder.
pub const BACKENDS: [&str; 4] = ["hyper", "node", "python", "nginx"];

/// Where a back end listens.
#[must_use]
pub fn socket(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.sock"))
}

/// The running servers. They end with this.
#[derive(Debug)]
pub struct Backends {
    processes: Vec<Process>,
    hyper: JoinHandle<()>,
}

impl Backends {
    /// Starts all of them with their sockets in `folder`.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start(folder: &Path) -> Result<Self> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("backends");
        let conf = std::fs::read_to_string(sources.join("nginx.conf"))?
            .replace("SOCKET", &socket(folder, "nginx").display().to_string())
            .replace("FOLDER", &folder.display().to_string());
        std::fs::write(folder.join("nginx.conf"), conf)?;
        let mut node = Command::new(part("GRANTMESH_NODE")?);
        node.arg(sources.join("node.js")).arg(socket(folder, "node"));
        let mut python = Command::new(part("GRANTMESH_PYTHON")?);
        python.arg(sources.join("python.py")).arg(socket(folder, "python"));
        let mut nginx = Command::new(part("GRANTMESH_NGINX")?);
        nginx.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(folder.join("nginx.conf"));
        let mut processes = Vec::new();
        for (name, command) in [("node", &mut node), ("python", &mut python), ("nginx", &mut nginx)] {
            processes.push(Process::start(name, command, &folder.join(format!("{name}.log")))?);
        }
        let listener = UnixListener::bind(socket(folder, "hyper"))?;
        let hyper = tokio::spawn(async move {
            // Ends only with the task.
            let _never = axum::serve(listener, Router::new().fallback(serve)).await;
        });
        let mut this = Self { processes, hyper };
        for name in BACKENDS {
            until(&format!("the back end {name} listens"), PATIENCE, async || {
                this.processes.iter_mut().try_for_each(Process::alive)?;
                Ok(UnixStream::connect(socket(folder, name)).await.ok())
            })
            .await?;
        }
        Ok(this)
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        self.hyper.abort();
    }
}

async fn serve(request: Request) -> Response {
    let (action, resource) = read(request.method(), request.uri().path()).unwrap_or(("none", ""));
    let mut response = ().into_response();
    if let Ok(served) = HeaderValue::from_str(&format!("{action} {resource}")) {
        response.headers_mut().insert("x-served", served);
    }
    response
}

/// As a router does that goes by segments and decodes afterwards; the reader of the answer decodes.
fn read<'p>(method: &Method, path: &'p str) -> Option<(&'static str, &'p str)> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    match (method, segments.as_slice()) {
        ("GET", ["v1", "accounts", "me"]) => Some(("account.self", "")),
        ("GET", ["v1", "accounts", account]) if !account.is_empty() => Some(("account.read", account)),
        ("DELETE", ["v1", "accounts", account]) if !account.is_empty() => Some(("account.close", account)),
        ("GET", ["v1", "accounts", account, "refunds"]) if !account.is_empty() => Some(("refund.list", account)),
        ("POST", ["v1", "accounts", account, "refunds"]) if !account.is_empty() => Some(("refund.create", account)),
        ("GET", ["files", "secret", _, ..]) => rest(path, "/files/secret/").map(|rest| ("file.secret", rest)),
        ("GET", ["files", _, ..]) => rest(path, "/files/").map(|rest| ("file.read", rest)),
        ("GET", ["admin"]) => Some(("admin.read", "")),
        _ => None,
    }
}

fn rest<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|rest| !rest.is_empty())
}

/// The action and resource that a back end took a call for, from its header; the resource with its escapes read.
///
/// # Errors
/// If the header is not in the back ends' form.
pub fn served(header: &[u8]) -> Result<(String, Vec<u8>)> {
    let at = header.iter().position(|byte| *byte == b' ').unwrap_or(header.len());
    let (action, resource) = header.split_at(at);
    let action = String::from_utf8(action.to_vec()).context("a back end names an action in strange letters")?;
    Ok((action, decoded(resource.get(1..).unwrap_or_default())))
}

/// Bytes with their escapes read; a broken one stays as it is.
#[must_use]
pub fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(read) => {
                out.push(read);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_back_ends_are_read() {
        assert_eq!(served(b"account.read a%20b").unwrap(), ("account.read".to_owned(), b"a b".to_vec()));
        assert_eq!(served(b"none ").unwrap(), ("none".to_owned(), Vec::new()));
        assert_eq!(served(b"account.self").unwrap().1, b"");
        assert_eq!(decoded(b"%4%zz%C3%A9"), b"%4%zz\xc3\xa9");
    }
}
