//! Plain HTTP with somebody's token: to the control plane's API and, through Envoy, to the upstream.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::Value;

/// A client that speaks for one person, or for nobody.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    base: String,
    token: Option<String>,
    carried: HeaderMap,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Api {
    /// A client with its own connections.
    ///
    /// # Errors
    /// If the client cannot be made.
    pub fn new(base: &str, token: Option<String>) -> Result<Self> {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        Ok(Self { client, base: base.to_owned(), token, carried: HeaderMap::new() })
    }

    /// A client that shows a certificate: its chain and key in PEM, as are those of the server's authority.
    ///
    /// # Errors
    /// If they cannot be read, or the client cannot be made.
    pub fn with_certificate(base: &str, authority: &str, certificate: &str) -> Result<Self> {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60));
        let client = client.tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes())?]);
        let client = client.identity(reqwest::Identity::from_pem(certificate.as_bytes())?).build()?;
        Ok(Self { client, base: base.to_owned(), token: None, carried: HeaderMap::new() })
    }

    /// The same with a header that every request carries.
    ///
    /// # Errors
    /// If it is no header.
    pub fn carrying(&self, name: &'static str, value: &str) -> Result<Self> {
        let mut this = self.clone();
        this.carried.append(name, value.parse()?);
        Ok(this)
    }

    /// The same with new connections, so that another worker of Envoy may take them.
    ///
    /// # Errors
    /// If the client cannot be made.
    pub fn reconnected(&self) -> Result<Self> {
        Ok(Self { carried: self.carried.clone(), ..Self::new(&self.base, self.token.clone())? })
    }

    /// Sends a request; `path` may also be a whole URL.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply> {
        self.send_bytes(method, path, body.map(|body| body.to_string().into_bytes())).await
    }

    /// Sends a request with a body that says it is JSON, whatever it is.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send_bytes(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Reply> {
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        let mut request = self.client.request(method.clone(), &url).headers(self.carried.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.with_context(|| format!("{method} {url}"))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.with_context(|| format!("the body of {method} {url}"))?.to_vec();
        Ok(Reply { status, headers, body })
    }

    /// `GET`.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.send(Method::GET, path, None).await
    }

    /// Reviews a request as it is shown to the reviewer; the path ends with `/reviews`.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn review(&self, path: &str, review: &Value) -> Result<Reply> {
        let shown = self.get(path.trim_end_matches("/reviews")).await?;
        let digest = shown.expect(200).ok().and_then(|shown| shown.get("digest").cloned());
        let mut review = review.clone();
        if let Some(fields) = review.as_object_mut() {
            // What is not shown to somebody has no digest that they could know.
            fields.insert("digest".to_owned(), digest.unwrap_or_else(|| "0".repeat(64).into()));
        }
        self.post(path, &review).await
    }

    /// `POST`.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send(Method::POST, path, Some(body)).await
    }
}

impl Reply {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("status {} with no JSON: {}", self.status, self.text()))
    }

    /// The body as JSON, if the status is this one.
    ///
    /// # Errors
    /// If the status is another one.
    pub fn expect(&self, status: u16) -> Result<Value> {
        ensure!(self.status == status, "expected status {status}, got {}: {}", self.status, self.text());
        self.json()
    }

    /// The stable code of a problem with this status.
    ///
    /// # Errors
    /// If it is another status, or no `application/problem+json`.
    pub fn problem(&self, status: u16) -> Result<String> {
        let kind = self.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        ensure!(
            kind.starts_with("application/problem+json"),
            "status {} with the content type `{kind}`: {}",
            self.status,
            self.text()
        );
        Ok(crate::json::text(&self.expect(status)?, "/code")?.to_owned())
    }
}
