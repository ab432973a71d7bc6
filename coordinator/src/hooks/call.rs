//! One call of a hook: a command with the JSON on its standard input, or a POST of it; tried three times.

use std::fmt;
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::{Client, Url};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Tries after the first.
const AGAIN: usize = 2;

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    /// A program of this host with its arguments.
    Command { program: String, arguments: Vec<String> },
    /// An address.
    Webhook(Url),
}

impl Call {
    pub(super) fn command(mut words: Vec<String>) -> Result<Self, String> {
        if words.is_empty() || words[0].is_empty() {
            return Err("a hook's `command` names no program".to_owned());
        }
        let program = words.remove(0);
        Ok(Self::Command { program, arguments: words })
    }

    pub(super) fn webhook(url: &str) -> Result<Self, String> {
        let url: Url = url.parse().map_err(|error| format!("a hook's `url` is no address: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Self::Webhook(url)),
            _ => Err("a hook's `url` is no address of HTTP: expected http://… or https://…".to_owned()),
        }
    }
}

/// Without what may be secret: arguments, path, query, password.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { program, .. } => f.write_str(program),
            Self::Webhook(url) => write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
        }
    }
}

/// Calls it; after three failures the last reason.
pub(super) async fn call(call: &Call, timeout: Duration, body: &[u8]) -> Result<(), String> {
    let once = || async move {
        match tokio::time::timeout(timeout, once(call, body)).await {
            Ok(done) => done,
            Err(_) => Err(format!("no end after {}", humantime::format_duration(timeout))),
        }
    };
    once.retry(ExponentialBuilder::new().with_jitter().with_max_times(AGAIN)).await
}

async fn once(call: &Call, body: &[u8]) -> Result<(), String> {
    match call {
        Call::Command { program, arguments } => {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .map_err(|error| format!("failed to start: {error}"))?;
            if let Some(mut stdin) = child.stdin.take() {
                // A command that does not read is one that does not care.
                _ = stdin.write_all(body).await;
            }
            let status = child.wait().await.map_err(|error| error.to_string())?;
            if status.success() { Ok(()) } else { Err(status.to_string()) }
        }
        Call::Webhook(url) => {
            static CLIENT: LazyLock<Client> = LazyLock::new(Client::new);
            let request = CLIENT.post(url.clone()).header("content-type", "application/json").body(body.to_vec());
            let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                status => Err(format!("answered {status}")),
            }
        }
    }
}
