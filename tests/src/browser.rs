//! A real browser: Debian's Chromium, driven through its WebDriver, without a window.
//!
//! It ends with the process that started it.

use std::io::BufReader;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one window.
pub struct Browser {
    driver: Child,
    client: Client,
    /// Where the driver takes what no other browser has.
    session: String,
    http: reqwest::Client,
}

impl Browser {
    /// Starts one with a window of this many pixels. It resolves no name and asks nobody by itself.
    pub async fn start(width: u32, height: u32) -> Result<Self> {
        let mut driver = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "chromedriver", "--port=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver is needed: `deploy/setup.sh test` installs it")?;
        let said = driver.stdout.take().context("its output is piped")?;
        let port = tokio::task::spawn_blocking(move || port_in(BufReader::new(said))).await??;
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-background-networking".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1".to_owned(),
            format!("--window-size={width},{height}"),
        ];
        let wanted = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let Value::Object(capabilities) = wanted else { bail!("capabilities are a table") };
        let address = format!("http://127.0.0.1:{port}");
        let client = ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&address).await;
        let client = client.context("failed to start Chromium")?;
        let id = client.session_id().await?.context("a session has an id")?;
        Ok(Self { driver, client, session: format!("{address}/session/{id}"), http: reqwest::Client::new() })
    }

    /// What drives the window.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Goes to an address, which must answer with a page that has a heading.
    pub async fn open(&self, address: &str) -> Result<()> {
        self.client.goto(address).await.with_context(|| format!("failed to open {address}"))?;
        let heading = self.client.wait().at_most(PATIENCE).for_element(Locator::Css("h1")).await;
        heading.with_context(|| format!("{address} has no heading"))?;
        Ok(())
    }

    /// All words that the page shows.
    pub async fn words(&self) -> Result<String> {
        Ok(self.client.find(Locator::Css("body")).await?.text().await?)
    }

    /// Waits until the page shows these words, as it is kept up to date.
    pub async fn wait_for(&self, words: &str) -> Result<()> {
        let mut last = String::new();
        let shown = crate::wait_until(PATIENCE, words, async || {
            last = self.words().await.unwrap_or_default();
            last.contains(words)
        });
        let shown = shown.await;
        shown.with_context(|| format!("the page says:\n{last}"))
    }

    /// Waits until everything that the page loads is there.
    pub async fn drawn(&self) -> Result<()> {
        let is_drawn = async || self.run("return document.readyState").await.is_ok_and(|state| state == "complete");
        crate::wait_until(PATIENCE, "the page is drawn", is_drawn).await
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str) -> Result<Value> {
        Ok(self.client.execute(script, Vec::new()).await?)
    }

    /// Presses these keys one after the other, wherever the focus goes.
    pub async fn press(&self, keys: &str) -> Result<()> {
        let presses = keys.chars().fold(KeyActions::new("keys".to_owned()), |presses, value| {
            presses.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        Ok(self.client.perform_actions(presses).await?)
    }

    /// Shows pages as a window of this many pixels would, however small.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.ask("goog/cdp/execute", &command).await.map(drop)
    }

    /// Addresses of everything that was asked for since this was called last, whether it was answered, forbidden or not there.
    pub async fn asked_for(&self) -> Result<Vec<String>> {
        let mut asked = Vec::new();
        for line in self.log("performance").await? {
            let event: Value = serde_json::from_str(&line)?;
            if event["message"]["method"] == "Network.requestWillBeSent" {
                asked.extend(event["message"]["params"]["request"]["url"].as_str().map(str::to_owned));
            }
        }
        Ok(asked)
    }

    /// What the browser complained of since this was called last: errors of scripts, of what was loaded, of what is forbidden.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        self.log("browser").await
    }

    /// The lines of a log that were not read yet.
    async fn log(&self, kind: &str) -> Result<Vec<String>> {
        let lines = self.ask("se/log", &json!({ "type": kind })).await?;
        let lines = lines.as_array().context("a log is a list")?;
        Ok(lines.iter().filter_map(|line| line["message"].as_str()).map(str::to_owned).collect())
    }

    /// Asks the driver for what only Chromium has.
    async fn ask(&self, what: &str, body: &Value) -> Result<Value> {
        let answer = self.http.post(format!("{}/{what}", self.session)).json(body).send().await?;
        let mut answer: Value = answer.error_for_status()?.json().await?;
        Ok(answer["value"].take())
    }

    /// What the window shows now, as PNG.
    pub async fn picture(&self) -> Result<Vec<u8>> {
        Ok(self.client.screenshot().await?)
    }

    /// Ends it.
    pub async fn close(mut self) -> Result<()> {
        self.client.clone().close().await?;
        self.driver.kill()?;
        self.driver.wait()?;
        Ok(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        _ = self.driver.kill();
        _ = self.driver.wait();
    }
}

/// The port that a driver says it listens on.
fn port_in(said: impl std::io::BufRead) -> Result<u16> {
    for line in said.lines() {
        let line = line?;
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return port.trim_end_matches('.').trim().parse().with_context(|| format!("no port in {line:?}"));
        }
    }
    bail!("chromedriver ended without a word about its port")
}
