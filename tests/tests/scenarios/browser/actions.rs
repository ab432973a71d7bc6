//! Actions, by keys alone: what is touched is said before, a reason is asked for, and what was done is a line in the audit, which
//! page and command line show alike.

use anyhow::{Context, Result, ensure};
use fantoccini::Locator;
use harness::browser::Browser;
use harness::exhibit::Exhibit;
use serde_json::{Value, json};

use super::keyboard::{ENTER, TAB};
use super::{api, table};

/// Something to do: the page, what its link leads to, what is said before, and the verb on record.
struct PageAction<'a> {
    page: &'a str,
    link: &'a str,
    says: &'a str,
    verb: &'a str,
}

pub(super) async fn what_is_done_is_on_record(exhibit: &Exhibit, browser: &Browser) -> Result<()> {
    let Exhibit { ended, open, .. } = exhibit;
    let (of_open, failures) = (format!("/runs/{open}"), format!("/runs/{ended}/failures"));
    let deed = |page, link, says, verb| PageAction { page, link, says, verb };
    let deeds = [
        (deed(&of_open, "/do/pause", "0 stars are to come, 1 in flight", "pause"), "paused"),
        (deed(&of_open, "/do/resume", "1 in flight", "resume"), "active"),
        (deed(&of_open, "MSAP1_07/do/hold", "MSAP1_07 in all runs of SAS-PIP: 1 task is open", "hold"), "h held"),
        (deed(&of_open, "MSAP1_07/do/release", "MSAP1_07 in all runs", "release"), "Hold…"),
        (deed("/workers", "host-a/do/drain", "1 worker on host-a, 1 slot busy", "drain"), "▲ drained"),
        (deed("/workers", "host-a/do/resume", "1 worker on host-a", "resume"), "Drain…"),
    ];
    for (deed, shows) in &deeds {
        let line = act(exhibit, browser, deed).await.with_context(|| format!("{} of {}", deed.verb, deed.page))?;
        let said = [&line["verb"], &line["door"], &line["who"]];
        ensure!(said == [deed.verb, "page", "local"], "{line}");
        browser.open(&format!("{}{}", exhibit.address, deed.page)).await?;
        browser.wait_for(shows).await?;
    }
    let retry = deed(&failures, "/do/retry", "2 failed", "retry");
    let line = act(exhibit, browser, &retry).await.context("retry")?;
    ensure!(line["verb"] == "retry" && line["count"] == 2, "{line}");

    // What was tried again fails again.
    let run = format!("/runs/{ended}");
    let has_ended = async || api(exhibit, &run).await.is_ok_and(|run| run["phase"] == "ended");
    harness::wait_until(super::PATIENCE, "the run ends again", has_ended).await
}

/// Does it, and returns its line of the audit.
async fn act(exhibit: &Exhibit, browser: &Browser, deed: &PageAction<'_>) -> Result<Value> {
    let why = format!("<b>{}</b> since {}", deed.verb, "a_very_long_word".repeat(12));
    browser.open(&format!("{}{}", exhibit.address, deed.page)).await?;
    follow(browser, &format!("main a[href*='{}']", deed.link)).await?;
    browser.client().wait().for_element(Locator::Css(".ask textarea")).await?;
    let count = browser.client().find(Locator::Css(".ask .count")).await?.text().await?;
    ensure!(count.contains(deed.says), "it says {count:?}, not {:?}", deed.says);

    // Blanks are no reason.
    browser.press(&format!("  {TAB}{ENTER}")).await?;
    browser.wait_for("a reason must be given").await?;
    browser.press(&format!("{why}{TAB}{ENTER}")).await?;
    browser.client().wait().for_element(Locator::Css("main .done")).await?;
    follow(browser, "main .done a[href^='/audit']").await?;
    browser.client().wait().for_element(Locator::Css("tr[id^='line-']")).await?;
    let shown = table(browser, "Audit").await?.into_iter().next().context("the audit has a line")?;
    let line = exhibit.cluster.ask(&["audit", "-n", "1"])?["lines"][0].clone();
    for (head, field) in
        [("Line", "number"), ("Who", "who"), ("Door", "door"), ("How many", "count"), ("Why", "reason")]
    {
        let expected = super::shown(&line[field], "–");
        ensure!(shown[head] == expected.as_str(), "{head} is {}, and {expected:?} in {line}", shown[head]);
    }
    ensure!(line["reason"] == why.as_str(), "{line}");
    ensure!(
        shown["What comes of it"] == line["effect"]
            && shown["What"].as_str().is_some_and(|what| what.starts_with(deed.verb)),
        "{shown}"
    );
    Ok(line)
}

/// Gives a link the focus and presses Enter.
async fn follow(browser: &Browser, link: &str) -> Result<()> {
    browser.client().wait().for_element(Locator::Css(link)).await?;
    browser.run(&format!("document.querySelector({}).focus()", json!(link))).await?;
    browser.press(ENTER).await
}
