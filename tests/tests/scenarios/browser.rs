//! The pages in a real browser, on a live cluster with a run that ended, failures, and a star that hangs. What comes from outside
//! is hostile from the start: last words of modules first, then events, reasons and workers.

mod actions;
mod hostile;
mod keyboard;
mod live;
mod numbers;
mod said;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::browser::Browser;
use harness::exhibit::Exhibit;
use reqwest::Client;
use serde_json::{Value, json};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Width and height of windows: of a desk, and of a telephone.
const WIDE: (u32, u32) = (1400, 1000);
const NARROW: (u32, u32) = (400, 900);

/// The first words that must be on a page, by its name.
const WORDS: [(&str, &str); 5] = [
    ("overview", "Is it moving?"),
    ("run-ended", "MSAP3_01"),
    ("tasks", "MSAP1_07"),
    ("workers", "host-a"),
    ("failures", "exit"),
];

/// How many elements pages have that could run or load something, whether something ran, and how far the page is wider than
/// its window.
const IS_SAFE: &str =
    "return [document.querySelectorAll('main script:not([src]), main img, main iframe, main b > script').length,
    window.ran ?? 'nothing ran', Math.max(0, document.documentElement.scrollWidth - innerWidth)]";

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_are_whole_true_and_used_by_keyboard_in_a_browser() -> Result<()> {
    let mut exhibit = Exhibit::open(&hostile::words()).await?;
    let browser = Browser::start(WIDE.0, WIDE.1).await?;
    browser.asked_for().await?;
    // What is wrong in one chapter hides nothing of the others.
    let chapters = [
        look(&exhibit, &browser, &exhibit.pages()).await,
        said::pages_say_what_the_api_answers(&exhibit, &browser).await,
        numbers::every_number_leads_to_as_many(&exhibit, &browser).await,
        keyboard::everything_is_reached_and_used_by_keys(&exhibit, &browser).await,
        actions::what_is_done_is_on_record(&exhibit, &browser).await,
        hostile::what_comes_from_outside_is_text(&exhibit, &browser).await,
        live::pages_follow_what_goes_on(&mut exhibit, &browser).await,
    ];
    let wrong: Vec<String> = chapters.into_iter().filter_map(Result::err).map(|error| format!("{error:?}")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    browser.close().await
}

/// Looks at pages, wide and narrow: they are there, complain of nothing, ask nobody but their own host, run nothing of what they
/// show, and no wider than the window.
async fn look(exhibit: &Exhibit, browser: &Browser, pages: &[(&str, String)]) -> Result<()> {
    browser.complaints().await?;
    let mut wrong = Vec::new();
    for (name, path) in pages {
        browser.open(&format!("{}{path}", exhibit.address)).await?;
        browser.drawn().await?;
        let words = browser.words().await?;
        if let Some((_, wanted)) = WORDS.iter().find(|(page, _)| page == name) {
            ensure!(words.contains(wanted), "{name} does not say {wanted:?}:\n{words}");
        }
        ensure!(
            !words.chars().any(|c| matches!(c, '\u{1b}' | '\u{202e}')),
            "{name} has marks that move things:\n{words}"
        );
        for (width, height) in [NARROW, WIDE] {
            browser.resize(width, height).await?;
            let safe = browser.run(IS_SAFE).await?;
            if safe != json!([0, "nothing ran", 0]) {
                wrong.push(format!("{name}, {width} pixels wide, is {safe}"));
            }
        }
        let complaints = browser.complaints().await?;
        wrong.extend(complaints.iter().map(|complaint| format!("{name}: {complaint}")));
    }
    let asked = browser.asked_for().await?;
    let others: Vec<&String> = asked.iter().filter(|url| !url.starts_with(&exhibit.address)).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(asked.len() >= pages.len() && others.is_empty(), "asked for elsewhere: {others:?}");
    Ok(())
}

/// What the API answers.
async fn api(exhibit: &Exhibit, path: &str) -> Result<Value> {
    let answer = Client::new().get(format!("{}/api/v1{path}", exhibit.address)).send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

/// Has the API do something.
async fn ask_for(exhibit: &Exhibit, path: &str, body: &Value) -> Result<Value> {
    let answer = Client::new().post(format!("{}/api/v1{path}", exhibit.address)).json(body).send().await?;
    let status = answer.status();
    let said: Value = answer.json().await.with_context(|| format!("{path} answers {status}"))?;
    ensure!(status.is_success(), "{path} answers {status}: {said}");
    Ok(said)
}

/// The lines of a table, by the heads of its columns; of columns that are called the same the first.
async fn table(browser: &Browser, label: &str) -> Result<Vec<Value>> {
    let script = format!(
        "const frame = [...document.querySelectorAll('.scroll')].find(frame => frame.ariaLabel === {});
         if (!frame) return [];
         const heads = [...frame.querySelectorAll('thead th')].map(head => head.innerText.trim());
         return [...frame.querySelectorAll('tbody tr')].map(row =>
           Object.fromEntries([...row.cells].map((cell, at) => [heads[at], cell.innerText.trim()]).reverse()));",
        json!(label)
    );
    Ok(browser.run(&script).await?.as_array().cloned().unwrap_or_default())
}

/// A value as pages show it; `nothing` where there is none.
fn shown(value: &Value, nothing: &str) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_null() => nothing.to_owned(),
        None => value.to_string(),
    }
}
