//! What comes from outside is text: nothing of it runs, moves or widens a page.

use anyhow::{Result, ensure};
use harness::browser::Browser;
use harness::exhibit::Exhibit;
use jiff::Timestamp;
use serde_json::json;
use services::address::Address;
use services::state::redis::{RedisConfig, RedisState};
use services::state::{State, WorkerInfo};

use super::{ask_for, look};

/// How long a worker that nobody started is shown.
const LIVES: std::time::Duration = std::time::Duration::from_secs(120);

/// Markup, escapes of terminals, a mark that turns the writing, and a word that has no end.
pub(super) fn words() -> String {
    let markup = "<script>window.ran = 1</script>\"'><img src=x onerror=\"window.ran = 1\">&lt;";
    format!("{markup} \u{1b}[2J\u{1b}[31m \u{202e}dlrow\u{200f} {}", "endless".repeat(20))
}

pub(super) async fn what_comes_from_outside_is_text(exhibit: &Exhibit, browser: &Browser) -> Result<()> {
    let words = words();
    let event = json!({
        "specversion": "1.0", "type": "sas.dataset.updated.v1", "source": words, "id": words,
        "data": { "dataset": "l1/nothing", "quarter": 3, "stars": [exhibit.whole] },
    });
    let client = reqwest::Client::new().post(format!("{}/api/v1/events", exhibit.address));
    let published =
        client.header("content-type", "application/cloudevents+json").body(event.to_string()).send().await?;
    ensure!(published.status().is_success(), "{}", published.text().await?);
    let pause = format!("/runs/{}/pause", exhibit.open);
    ask_for(exhibit, &pause, &json!({ "reason": words })).await?;
    ask_for(exhibit, &pause.replace("pause", "resume"), &json!({ "reason": words })).await?;
    let state = RedisState::connect(&RedisConfig { url: Address::new(exhibit.cluster.state_url()) }).await?;
    let name = words.replace(['\u{1b}', '/'], "").parse()?;
    let mut worker = WorkerInfo::new(name, [("default".parse()?, 1)].into(), Timestamp::now());
    (worker.host, worker.version, worker.waits_for) = (words.clone(), words.clone(), Some(words.clone()));
    state.show_worker(&worker, LIVES).await?;

    look(exhibit, browser, &exhibit.pages()).await?;
    for path in ["/failures", "/events", "/audit", "/workers"] {
        browser.open(&format!("{}{path}", exhibit.address)).await?;
        let shown = browser.words().await?;
        for part in ["<script>window.ran = 1</script>\"'><img", "&lt;", "\\u{1b}[2J", "\\u{202e}dlrow\\u{200f}"] {
            ensure!(shown.contains(part), "{path} does not show {part:?} as it is:\n{shown}");
        }
    }
    state.forget_worker(&worker.worker).await?;
    Ok(())
}
