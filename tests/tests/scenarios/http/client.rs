//! A client of the API, and `sas` on the same store.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use coordinator::config::HttpConfig;
use reqwest::{Method, Response};
use serde_json::Value;

/// Somebody who asks over HTTP.
pub(super) struct Client {
    http: reqwest::Client,
    site: String,
    token: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(super) body: String,
}

/// An address, and the tokens that are good there.
pub(super) fn config(listen: &str, tokens: Option<&Path>) -> HttpConfig {
    HttpConfig { listen: listen.to_owned(), tokens: tokens.map(Path::to_owned), ..HttpConfig::default() }
}

/// What `sas` answers about a store; it must end well.
pub(super) fn sas(store: &Path, arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new(harness::program("sas-cli", "sas"));
    let done = command.args(["-o", "json"]).args(arguments).env("SAS_STORE_ROOT", store).output()?;
    ensure!(done.status.success(), "sas {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}

impl Client {
    pub(super) fn new(address: &str) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = http.timeout(Duration::from_secs(60)).build().expect("a client");
        Self { http, site: format!("http://{address}"), token: None }
    }

    /// The same with this token.
    pub(super) fn with(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    /// Waits until somebody answers.
    pub(super) async fn is_up(&self) -> Result<()> {
        let up = async || self.page(Method::GET, "/livez", &[], "").await.is_ok_and(|answer| answer.status == 200);
        harness::wait_until(Duration::from_secs(20), "the coordinator answers", up).await
    }

    pub(super) async fn ask(&self, path: &str) -> Result<Answered> {
        self.request(Method::GET, path).await
    }

    pub(super) async fn request(&self, method: Method, path: &str) -> Result<Answered> {
        self.page(method, &format!("/api/v1{path}"), &[], "").await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answered> {
        self.send(path, "application/json", &[], body).await
    }

    /// Posts a body of this kind with these headers.
    pub(super) async fn send(
        &self,
        path: &str,
        kind: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answered> {
        let headers = [&[("content-type", kind)], headers].concat();
        self.page(Method::POST, &format!("/api/v1{path}"), &headers, &body.to_string()).await
    }

    /// Asks for any address of the site.
    pub(super) async fn page(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answered> {
        let mut request = self.http.request(method, format!("{}{path}", self.site)).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.with_context(|| format!("failed to ask for {path}"))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answered { status, headers, body: answer.text().await? })
    }

    /// An answer that goes on.
    pub(super) async fn open(&self, path: &str) -> Result<Response> {
        Ok(self.http.get(format!("{}/api/v1{path}", self.site)).send().await?.error_for_status()?)
    }
}

impl Answered {
    /// The answer as JSON, which must have this status.
    #[track_caller]
    pub(super) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> String {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    }
}
