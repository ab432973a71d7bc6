//! Pages follow what goes on without being loaded again, and say when nobody answers.

use anyhow::{Result, ensure};
use harness::browser::Browser;
use harness::exhibit::Exhibit;
use serde_json::json;

use super::keyboard::{readout, to_cell};
use super::{PATIENCE, ask_for, table};

pub(super) async fn pages_follow_what_goes_on(exhibit: &mut Exhibit, browser: &Browser) -> Result<()> {
    let module = "/pipelines/SAS-PIP/modules/MSAP3_01";
    ask_for(exhibit, &format!("{module}/hold"), &json!({})).await?;
    browser.open(&exhibit.address).await?;
    browser.run("window.stays = true").await?;
    let shows = async |run: &str, in_flight: Option<&str>| {
        let lines = table(browser, "Runs").await.unwrap_or_default();
        lines
            .iter()
            .find(|line| run.starts_with(line["Run"].as_str().unwrap_or("-")))
            .map(|line| line["In flight"].clone())
            == in_flight.map(Into::into)
    };
    harness::wait_until(PATIENCE, "the run that ended is not there", async || shows(&exhibit.ended, None).await)
        .await?;
    let selection = json!({ "states": ["failed"] });
    let retry = json!({ "selection": selection, "count": 2 });
    ask_for(exhibit, &format!("/runs/{}/tasks/retry", exhibit.ended), &retry).await?;
    harness::wait_until(PATIENCE, "two stars are in flight", async || shows(&exhibit.ended, Some("2")).await).await?;
    ensure!(browser.run("return window.stays").await? == true, "the page was loaded again");

    to_cell(exhibit, browser, &exhibit.failed, "MSAP3_01").await?;
    browser.run("window.stays = true").await?;
    let says = async |state: &str| readout(browser).await.is_ok_and(|words| words.ends_with(state));
    harness::wait_until(PATIENCE, "the task is queued", async || says("queued or running").await).await?;
    ask_for(exhibit, &format!("{module}/release"), &json!({})).await?;
    harness::wait_until(PATIENCE, "it failed again", async || says(": failed").await).await?;
    ensure!(browser.run("return window.stays").await? == true, "the page was loaded again");

    // Nobody answers, and somebody does again.
    browser.open(&exhibit.address).await?;
    browser.run("window.stays = true").await?;
    exhibit.stop_coordinator()?;
    browser.wait_for("■ no answer since").await?;
    exhibit.start_coordinator()?;
    browser.wait_for("● live").await?;
    ensure!(browser.run("return window.stays").await? == true, "the page was loaded again");
    Ok(())
}
