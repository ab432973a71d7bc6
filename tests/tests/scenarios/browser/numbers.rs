//! Every number of stars or tasks leads to a list of as many.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use harness::browser::Browser;
use harness::exhibit::Exhibit;

/// Columns whose numbers count neither stars nor tasks as they stand: tries, flows, messages, products and what is in them, lines.
const OTHERS: [&str; 16] = [
    "Attempt",
    "Try",
    "Attempts",
    "Failed",
    "Errored",
    "Lost",
    "In / min",
    "Out / min",
    "Unacknowledged",
    "Consumers",
    "Stars named",
    "How many",
    "Products",
    "Column",
    "Value",
    "Line",
];

/// Numbers that stand alone in a cell, a fact or beside a state, and lead nowhere: their column or name, and the number.
const LEAD_NOWHERE: &str = "
    const isNumber = (element) => /^[1-9][0-9\\u2009]*$/.test(element.innerText.trim()) && !element.querySelector('a');
    const cells = [...document.querySelectorAll('main tbody td')].filter(isNumber).filter((cell) =>
      cell.parentElement.cells[0].innerText !== 'all').map((cell) => [cell.closest('table').tHead.rows[0].cells[cell.cellIndex].innerText, cell.innerText]);
    const facts = [...document.querySelectorAll('main dd, main .key span:last-child')].filter(isNumber).map((fact) => ['', fact.innerText]);
    return [...cells, ...facts];";

/// Where the numbers of a page lead, and what they say.
const LEADING: &str = "return [...document.querySelectorAll('main a.number')].map((link) =>
    [link.getAttribute('href'), link.innerText.replaceAll('\\u2009', '')])";

pub(super) async fn every_number_leads_to_as_many(exhibit: &Exhibit, browser: &Browser) -> Result<()> {
    let mut wrong = Vec::new();
    let mut leading: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for (name, path) in exhibit.pages() {
        browser.open(&format!("{}{path}", exhibit.address)).await?;
        browser.drawn().await?;
        let nowhere: Vec<(String, String)> = serde_json::from_value(browser.run(LEAD_NOWHERE).await?)?;
        let nowhere: Vec<_> = nowhere.iter().filter(|(column, _)| !OTHERS.contains(&column.as_str())).collect();
        if !nowhere.is_empty() {
            wrong.push(format!("{name} has numbers that lead nowhere: {nowhere:?}"));
        }
        let found: Vec<(String, String)> = serde_json::from_value(browser.run(LEADING).await?)?;
        for (href, number) in found.into_iter().filter(|(href, _)| !href.starts_with('#')) {
            let number = number.trim().parse().with_context(|| format!("{name} says {number:?}"))?;
            let (of, before) = leading.entry(href.clone()).or_insert((name.to_owned(), number));
            ensure!(*before == number, "{href} is {before} on {of}, and {number} on {name}");
        }
    }
    ensure!(leading.len() > 100, "only {} numbers lead somewhere", leading.len());
    let client = reqwest::Client::new();
    for (href, (name, number)) in &leading {
        let page = client.get(format!("{}{href}", exhibit.address)).send().await?.text().await?;
        let total = page.split("class=\"total\">").nth(1).and_then(|rest| rest.split('<').next());
        let total = total.and_then(|total| total.replace('\u{2009}', "").parse::<u64>().ok());
        let listed = page.matches("href=\"/stars/PLATO_").count() as u64;
        let is_listed = listed >= *number.min(&50) || href.ends_with("/matrix") || href.ends_with("/failures");
        if total != Some(*number) || !is_listed {
            wrong.push(format!("{name} says {number}, and {href} {total:?}, and lists {listed}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
