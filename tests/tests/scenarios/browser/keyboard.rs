//! Everything is reached and used by keys alone: Tab and Enter, the keys that pages name, and the matrix down to one star.

use anyhow::{Result, ensure};
use harness::browser::Browser;
use harness::exhibit::Exhibit;
use serde_json::json;

pub(super) const TAB: char = '\u{e004}';
pub(super) const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const DOWN: &str = "\u{e015}";
const RIGHT: &str = "\u{e014}";
const HOME: &str = "\u{e011}";

/// Notes down what has the focus, and whether that is seen. The page is kept as it is meanwhile.
const WATCH: &str = "
    document.getElementById('main').dataset.still = ''; document.activeElement.blur(); getSelection().removeAllRanges();
    window.reached = new Set(); window.unseen = [];
    document.addEventListener('focusin', ({ target }) => {
      window.reached.add(target);
      const box = target.matches('.dag a') ? target.querySelector('.box') : null, outline = getComputedStyle(target);
      const isSeen = box ? parseFloat(getComputedStyle(box).strokeWidth) > 2 : outline.outlineStyle !== 'none' && parseFloat(outline.outlineWidth) > 0;
      if (!isSeen && !target.matches('canvas, main')) window.unseen.push(target.outerHTML.slice(0, 80));
    });";

/// What can be used and was not reached, and what had the focus unseen.
const MISSED: &str = "
    const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex=\"0\"]')];
    const isUsed = (element) => element.tabIndex >= 0 && !element.disabled && element.type !== 'hidden' && element.checkVisibility();
    return [all.filter(isUsed).filter((element) => !window.reached.has(element)).map((element) => element.outerHTML.slice(0, 120)), window.unseen];";

pub(super) async fn everything_is_reached_and_used_by_keys(exhibit: &Exhibit, browser: &Browser) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, path) in exhibit.pages() {
        browser.open(&format!("{}{path}", exhibit.address)).await?;
        browser.drawn().await?;
        browser.run(WATCH).await?;
        let all = browser.run("return document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]').length").await?;
        browser.press(&TAB.to_string().repeat(all.as_u64().unwrap_or(0) as usize + 5)).await?;
        let missed = browser.run(MISSED).await?;
        if missed != json!([[], []]) {
            wrong.push(format!("{name}: not reached, and not seen: {missed}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    shortcuts(exhibit, browser).await?;
    matrix(exhibit, browser).await
}

async fn shortcuts(exhibit: &Exhibit, browser: &Browser) -> Result<()> {
    browser.open(&exhibit.address).await?;
    let named = browser.run("return [...document.querySelectorAll('nav [data-key]')].map((link) => [link.dataset.key, link.getAttribute('href')])");
    let named: Vec<(String, String)> = serde_json::from_value(named.await?)?;
    ensure!(named.len() == 7, "{named:?}");
    for (key, path) in &named {
        browser.press(&format!("g{key}")).await?;
        let is_there = async || browser.client().current_url().await.is_ok_and(|url| url.path() == path);
        harness::wait_until(super::PATIENCE, &format!("g {key} leads to {path}"), is_there).await?;
        browser.drawn().await?;
    }
    browser.press("?").await?;
    let keys = browser.run("return document.querySelector('dialog[open]')?.innerText ?? ''").await?;
    let keys = keys.as_str().unwrap_or_default();
    ensure!(named.iter().all(|(key, _)| keys.contains(&format!("g {key}"))) && keys.contains('/'), "{keys}");
    browser.press(ESCAPE).await?;
    ensure!(
        browser.run("return document.querySelector('dialog[open]') === null").await? == true,
        "Esc closes the keys"
    );
    let theme = "return getComputedStyle(document.body).colorScheme + getComputedStyle(document.documentElement).backgroundColor";
    let before = browser.run(theme).await?;
    browser.press("t").await?;
    ensure!(browser.run(theme).await? != before, "t changes the colours");
    browser.press("t").await?;
    browser.press(&format!("/{}{ENTER}", &exhibit.ended[..8])).await?;
    let is_found = async || browser.client().current_url().await.is_ok_and(|url| url.path().ends_with(&exhibit.ended));
    harness::wait_until(super::PATIENCE, "a run is found by its first digits", is_found).await
}

/// From all stars to the page of one.
async fn matrix(exhibit: &Exhibit, browser: &Browser) -> Result<()> {
    let Exhibit { ended, failed, .. } = exhibit;
    to_cell(exhibit, browser, failed, "MSAP3_01").await?;
    ensure!(readout(browser).await?.ends_with(": failed"), "{}", readout(browser).await?);
    browser.press(ENTER).await?;
    let is_open =
        async || browser.client().current_url().await.is_ok_and(|url| url.path() == format!("/stars/{failed}"));
    harness::wait_until(super::PATIENCE, &format!("Enter opens {failed} of {ended}"), is_open).await
}

/// Opens the matrix of the run that ended and goes to a cell by keys.
pub(super) async fn to_cell(exhibit: &Exhibit, browser: &Browser, star: &str, module: &str) -> Result<()> {
    browser.open(&format!("{}/runs/{}/matrix", exhibit.address, exhibit.ended)).await?;
    let is_drawn = async || readout(browser).await.is_ok_and(|words| words.contains("PLATO_"));
    harness::wait_until(super::PATIENCE, "the matrix is drawn", is_drawn).await?;
    for _ in 0..60 {
        if browser.run("return document.activeElement.matches('canvas')").await? == true {
            break;
        }
        browser.press(&TAB.to_string()).await?;
    }
    browser.press(HOME).await?;
    for (key, words) in [(RIGHT, format!("· {module} ")), (DOWN, format!("{star} "))] {
        for _ in 0..40 {
            if readout(browser).await?.contains(&words) {
                break;
            }
            browser.press(key).await?;
        }
    }
    let words = readout(browser).await?;
    ensure!(words.starts_with(star) && words.contains(module), "keys lead to {words}, not to {module} of {star}");
    Ok(())
}

/// What the matrix says of the cell where the keys are.
pub(super) async fn readout(browser: &Browser) -> Result<String> {
    let said = browser.run("return document.querySelector('[data-is=readout]').innerText").await?;
    Ok(said.as_str().unwrap_or_default().to_owned())
}
