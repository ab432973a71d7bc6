//! The pages in a real browser, on a live cluster with a run that ended, failures, and a star that hangs.

use anyhow::{Context, Result, ensure};
use fantoccini::Locator;
use harness::browser::Browser;
use harness::exhibit::Exhibit;
use serde_json::json;

/// The first words that must be on a page, by its name.
const WORDS: [(&str, &str); 5] = [
    ("overview", "Is it moving?"),
    ("run-ended", "MSAP3_01"),
    ("tasks", "MSAP1_07"),
    ("workers", "host-a"),
    ("failures", "exit"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_whole_of_its_own_host_and_used_by_keyboard() -> Result<()> {
    let exhibit = Exhibit::open().await?;
    let browser = Browser::start(1400, 1000).await?;
    for (name, path) in exhibit.pages() {
        let address = format!("{}{path}", exhibit.address);
        browser.open(&address).await?;
        let words = browser.words().await?;
        if let Some((_, wanted)) = WORDS.iter().find(|(page, _)| *page == name) {
            ensure!(words.contains(wanted), "{name} does not say {wanted:?}:\n{words}");
        }
        browser.require_own(&exhibit.address).await.with_context(|| name.to_owned())?;
        let wide = browser.run("return document.documentElement.scrollWidth - innerWidth").await?;
        ensure!(wide.as_i64().is_some_and(|wide| wide <= 0), "{name} is {wide} pixels wider than the window");
    }

    // By keyboard: to another page, and into it.
    browser.open(&exhibit.address).await?;
    browser.press("gw").await?;
    browser.wait_for("host-a").await?;
    ensure!(browser.client().current_url().await?.path() == "/workers", "g w goes to the workers");

    // A page is kept up to date without being loaded again.
    browser.open(&format!("{}/runs/{}", exhibit.address, exhibit.open)).await?;
    browser.run("window.stays = true").await?;
    exhibit.cluster.ask(&["run", "pause", &exhibit.open])?;
    browser.wait_for("paused").await?;
    ensure!(browser.run("return window.stays").await? == json!(true), "the page was loaded again");
    let links = browser.client().find_all(Locator::Css("main a[href]")).await?;
    ensure!(!links.is_empty(), "numbers lead to what is behind them");
    browser.close().await
}
