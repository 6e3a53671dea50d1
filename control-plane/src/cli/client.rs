//! The client of the API: one call at a time, with the caller's token, and the server's problem documents as errors.

use std::time::Duration;

use grantmesh_shared::time::Span;
use grantmesh_shared::wire::problem::Problem;
use reqwest::header::HeaderName;
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ClientArgs;

/// How long an answer may take beyond what the call waits for by its nature.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// No server is named.
    #[error("no server is named\nadd `--server URL`, or set GRANTMESH_SERVER")]
    NoServer,
    /// No token is there.
    #[error("there is no token\nadd `--token TOKEN`, or set GRANTMESH_TOKEN")]
    NoToken,
    /// Not a URL.
    #[error("`{0}` is not the URL of a server\nwrite it like `https://grantmesh.example.com`")]
    Url(String),
    /// A URL of a challenge whose call cannot be read.
    #[error(
        "what stands behind the `#` of `{0}` is not the call of a challenge\ncopy the whole URL, as the challenge has it"
    )]
    Fragment(String),
    /// A URL of another server, which must not get the token.
    #[error(
        "`{url}` is not on the server `{server}`, so the token is not sent there\nname its server with `--server` if you trust it with your token"
    )]
    Elsewhere {
        /// The URL.
        url: String,
        /// The server.
        server: String,
    },
    /// No answer.
    #[error("the server `{server}` cannot be reached: {reason}\ncheck `--server`, and that it runs")]
    Unreachable {
        /// The server.
        server: String,
        /// Why.
        reason: String,
    },
    /// An answer that is not one of Grantmesh's.
    #[error("`{server}` answered {status} with something else than Grantmesh does\ncheck `--server`")]
    Strange {
        /// The server.
        server: String,
        /// The status.
        status: u16,
    },
    /// The server refused.
    #[error("{}", .0.title)]
    Refused(Box<Problem>),
}

impl ClientError {
    /// It is not the URL of a server.
    pub(super) fn url(url: &str) -> Self {
        Self::Url(shown_url(url))
    }
}

/// A URL as failures show it: what stands behind its `?` or `#`, or before an `@`, may be nobody else's business.
pub(super) fn shown_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

/// A client of one server.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    server: Url,
    token: String,
}

impl Client {
    pub(super) fn new(args: &ClientArgs) -> Result<Self, ClientError> {
        let server = args.server.as_deref().ok_or(ClientError::NoServer)?;
        Self::of(server, args)
    }

    /// A client of the server that a URL is on; refused if the arguments name another one.
    pub(super) fn of_url(url: &str, args: &ClientArgs) -> Result<Self, ClientError> {
        let client = Self::of(args.server.as_deref().unwrap_or(url), args)?;
        let there = Url::parse(url).map_err(|_| ClientError::url(url))?;
        if there.origin() != client.server.origin() {
            return Err(ClientError::Elsewhere { url: shown_url(url), server: client.shown() });
        }
        Ok(client)
    }

    fn of(server: &str, args: &ClientArgs) -> Result<Self, ClientError> {
        let wrong = || ClientError::url(server);
        let url = Url::parse(server)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(wrong)?;
        let token = args.token.clone().ok_or(ClientError::NoToken)?;
        // A redirect could carry the token away.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        let http =
            http.map_err(|error| ClientError::Unreachable { server: shown_url(server), reason: error.to_string() })?;
        Ok(Self { http, server: url, token })
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, ClientError> {
        let mut url = self.url(path)?;
        url.query_pairs_mut().extend_pairs(query).finish();
        self.json(self.http.request(Method::GET, url)).await
    }

    /// Reads a URL of this server as it is.
    pub(super) async fn get_url(&self, url: &str) -> Result<Value, ClientError> {
        let url = Url::parse(url).map_err(|_| ClientError::url(url))?;
        self.json(self.http.request(Method::GET, url)).await
    }

    /// A stream of events, from after one if it is named.
    pub(super) async fn stream(&self, path: &str, after: Option<&str>) -> Result<reqwest::Response, ClientError> {
        let mut request = self.http.request(Method::GET, self.url(path)?).bearer_auth(&self.token);
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        Err(self.refused(status, &body))
    }

    /// The next part of a stream; nothing at its end. One that says nothing for a minute is lost: it has heartbeats.
    pub(super) async fn part(&self, stream: &mut reqwest::Response) -> Result<Option<Vec<u8>>, ClientError> {
        match tokio::time::timeout(TIMEOUT, stream.chunk()).await {
            Ok(part) => Ok(part.map_err(|error| self.unreachable(&error))?.map(|part| part.to_vec())),
            Err(_) => Err(ClientError::Unreachable { server: self.shown(), reason: "it says nothing".to_owned() }),
        }
    }

    /// A stream that is none of Grantmesh's.
    pub(super) fn strange_stream(&self) -> ClientError {
        self.strange(StatusCode::OK)
    }

    pub(super) async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let (status, body) = self.send(self.http.request(Method::GET, self.url(path)?), TIMEOUT).await?;
        String::from_utf8(body).map_err(|_| self.strange(status))
    }

    pub(super) async fn post(&self, path: &str, body: &impl serde::Serialize) -> Result<Value, ClientError> {
        self.json(self.http.request(Method::POST, self.url(path)?).json(body)).await
    }

    /// A post that is answered only after a while.
    pub(super) async fn post_waiting(
        &self,
        path: &str,
        body: &impl serde::Serialize,
        wait: Duration,
    ) -> Result<Value, ClientError> {
        self.json_within(self.http.request(Method::POST, self.url(path)?).json(body), wait).await
    }

    /// A post that says what it replaces, and may be answered only after a while.
    pub(super) async fn post_over(
        &self,
        path: &str,
        (name, value): (HeaderName, String),
        body: &impl serde::Serialize,
        wait: Duration,
    ) -> Result<Value, ClientError> {
        let request = self.http.request(Method::POST, self.url(path)?).header(name, value).json(body);
        self.json_within(request, wait).await
    }

    /// A put that may say what it replaces, and is answered only after a while.
    pub(super) async fn put_waiting(
        &self,
        path: &str,
        over: Option<(HeaderName, &str)>,
        body: &impl serde::Serialize,
        wait: Duration,
    ) -> Result<Value, ClientError> {
        let mut request = self.http.request(Method::PUT, self.url(path)?).json(body);
        if let Some((name, value)) = over {
            request = request.header(name, value);
        }
        self.json_within(request, wait).await
    }

    /// A delete that may be answered only after a while.
    pub(super) async fn delete_waiting(
        &self,
        path: &str,
        stated: &[(&str, Option<String>)],
        wait: Option<Span>,
    ) -> Result<Value, ClientError> {
        let mut url = self.url(path)?;
        let wait_text = wait.map(|wait| ("wait", wait.to_string()));
        let stated = stated.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        url.query_pairs_mut().extend_pairs(stated).extend_pairs(wait_text).finish();
        self.json_within(self.http.request(Method::DELETE, url), wait.unwrap_or_default().duration()).await
    }

    /// A post without a body.
    pub(super) async fn act(&self, path: &str) -> Result<Value, ClientError> {
        self.json(self.http.request(Method::POST, self.url(path)?)).await
    }

    /// The server's answer as its type.
    pub(super) fn read<T: DeserializeOwned>(&self, answer: &Value) -> Result<T, ClientError> {
        T::deserialize(answer).map_err(|_| self.strange(StatusCode::OK))
    }

    fn url(&self, path: &str) -> Result<Url, ClientError> {
        let mut url = self.server.clone();
        url.set_query(None);
        url.set_fragment(None);
        // A server behind a prefix keeps it.
        let base = if path_is_ours(url.path()) { String::new() } else { url.path().trim_end_matches('/').to_owned() };
        url.set_path(&format!("{base}{path}"));
        Ok(url)
    }

    async fn json(&self, request: reqwest::RequestBuilder) -> Result<Value, ClientError> {
        self.json_within(request, Duration::ZERO).await
    }

    async fn json_within(&self, request: reqwest::RequestBuilder, wait: Duration) -> Result<Value, ClientError> {
        let (status, body) = self.send(request, TIMEOUT.saturating_add(wait)).await?;
        serde_json::from_slice(&body).map_err(|_| self.strange(status))
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        timeout: Duration,
    ) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let unreachable = |error| self.unreachable(&error);
        let answer = request.bearer_auth(&self.token).timeout(timeout).send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?.to_vec();
        if status.is_success() { Ok((status, body)) } else { Err(self.refused(status, &body)) }
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        ClientError::Unreachable { server: self.shown(), reason: cause.to_string() }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => self.strange(status),
        }
    }

    fn strange(&self, status: StatusCode) -> ClientError {
        ClientError::Strange { server: self.shown(), status: status.as_u16() }
    }

    /// The server as failures name it.
    fn shown(&self) -> String {
        shown_url(self.server.as_str())
    }
}

/// Whether the path of a server's URL is one of the API's own, as in the URL of a challenge.
fn path_is_ours(path: &str) -> bool {
    path.starts_with("/v1/")
}
