//! The pages of a live cluster, as they are without a script: whole, equal to what `sas` says, hostile words shown as text,
//! actions in two steps that end on record.
//!
//! FAILS ends with 3 and hostile last words for two of three stars. LATER runs only after it, when a flag says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::cluster::Cluster;
use harness::light::Campaign;
use harness::wait_until;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn definition(directory: &Path, good: &str) -> Result<PathBuf> {
    let fails = format!(
        "test $SAS_STAR = {good} && exec tail -f /dev/null; printf \"<script>alert(1)</script> \\033[2J gone\\n\"; exit 3"
    );
    let text = format!(
        "name = 'PAGES'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['DP1_LC_MERGED']\n\
         [classes.default]\ncpus = 1\nmemory = '256MB'\n\
         [modules.FAILS]\nimage = 'none'\ngroup = 'G<1>'\ndoc = 'It says <b>no</b>'\ncommand = ['/bin/sh', '-c', '''{fails}''']\n\
         time_limit = '5m'\ninputs.mandatory = ['DP1_LC_MERGED']\noutputs.mandatory = ['X']\n\
         [modules.BELOW]\nimage = 'none'\ncommand = ['/bin/true']\ninputs.mandatory = ['X']\noutputs.mandatory = ['Z']\n"
    );
    let path = directory.join("pages.toml");
    fs::write(&path, text)?;
    Ok(path)
}

/// Where pages are, and who asks for them.
struct PageReader {
    address: String,
    client: reqwest::Client,
}

impl PageReader {
    fn new(address: &str) -> Result<Self> {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { address: format!("http://{address}"), client })
    }

    /// A page that must be there and have these words; it has no script of its own and is safe to show.
    async fn page(&self, path: &str, words: &[&str]) -> Result<String> {
        let answer = self.client.get(format!("{}{path}", self.address)).send().await?;
        let status = answer.status();
        let page = answer.text().await?;
        ensure!(status.is_success(), "{path} answers {status}: {page}");
        for word in words {
            ensure!(page.contains(word), "{path} does not say {word:?}: {page}");
        }
        ensure!(!page.contains("<script>") && !page.contains("style=\"") && !page.contains('\u{1b}'), "{path}: {page}");
        Ok(page)
    }

    /// What is refused, with its status and these words.
    async fn refused(&self, path: &str, status: u16, words: &str) -> Result<()> {
        let answer = self.client.get(format!("{}{path}", self.address)).send().await?;
        let (got, page) = (answer.status().as_u16(), answer.text().await?);
        ensure!(got == status && page.contains(words), "{path} answers {got}: {page}");
        Ok(())
    }

    /// Sends a form; tells the status and where it leads.
    async fn send(&self, path: &str, form: &[(&str, &str)]) -> Result<(u16, String)> {
        let request = self.client.post(format!("{}{path}", self.address)).form(form);
        let answer = request.header("Origin", &self.address).send().await?;
        let leads = answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default().to_owned();
        Ok((answer.status().as_u16(), leads))
    }
}

/// Waits until an answer of `sas` is as it is wanted.
async fn wait_for(cluster: &Cluster, line: &[&str], holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let waited = wait_until(PATIENCE, "sas answers as it is wanted", async || {
        last = cluster.ask(line).unwrap_or_default();
        holds(&last)
    });
    waited.await.with_context(|| format!("sas {line:?} answers {last}"))?;
    Ok(last)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_whole_without_a_script_and_what_is_done_from_it_is_on_record() -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(3, "quiet=3", 1)?;
    let directory = campaign.path("cluster");
    fs::create_dir(&directory)?;
    let stars: Vec<String> = campaign.kinds.keys().cloned().collect();
    let cluster = Cluster::start(&directory, &[&definition(&directory, &stars[0])?])?;
    cluster.ingest(&campaign.star_files()?)?;
    let listen = harness::free_address()?;
    let _coordinator = cluster.coordinator_with("coordinator", &[("SAS_HTTP_LISTEN", &listen)])?;
    let _worker = cluster.worker(
        "host-a",
        &[("SAS_WORKER_RUNNER", "process"), ("SAS_WORKER_LEASE", "3s"), ("SAS_SLOTS_DEFAULT", "3")],
    )?;
    let failed = |found: &Value| found["tasks"]["failed"] == 2 && found["running"] == 1;
    let run = wait_for(&cluster, &["run", "show"], failed).await?;
    let run = run["run"].as_str().context("it has an id")?.to_owned();
    let shows = |found: &Value| found["workers"][0]["attempts"][0]["module"] == "FAILS";
    wait_for(&cluster, &["worker", "list"], shows).await?;
    let reader = PageReader::new(&listen)?;

    look(&reader, &run, &stars).await?;
    act(&reader, &cluster, &run).await
}

/// Every page, and what they refuse.
async fn look(reader: &PageReader, run: &str, stars: &[String]) -> Result<()> {
    let of = |rest: &str| format!("/runs/{run}{rest}");
    let overview = reader.page("/", &["Is it moving?", "Who must act?", "PAGES", "2 tasks failed"]).await?;
    for part in ["events", "queues", "workers", "store"] {
        ensure!(overview.contains(&format!("</span></span> {part}")), "the light of {part} is missing: {overview}");
    }
    reader.page("/runs", &["PAGES", &run[..8]]).await?;
    let page = reader.page(&of(""), &["FAILS", "BELOW", "G&lt;1&gt;", "It says &lt;b&gt;", "100 %"]).await?;
    let said = "FAILS: 1 running, 2 failed";
    ensure!(page.contains(said), "{said}: {page}");
    ensure!(page.contains("BELOW: 1 blocked, 2 upstream failed"), "{page}");
    reader.page(&of("/tasks?state=running"), &[&stars[0], "host-a"]).await?;
    let hostile = ["&lt;script&gt;alert(1)&lt;/script&gt;", "\\u{1b}[2J"];
    reader.page(&of("/tasks?state=failed&module=FAILS"), &[&stars[1][..], &stars[2], hostile[0], hostile[1]]).await?;
    reader.page(&of("/failures"), &["exit", hostile[0], "sas run failures"]).await?;
    reader.page("/failures", &[hostile[0]]).await?;

    // What is only counted elsewhere is listed here, page by page.
    let lost = of("/tasks?state=upstream_failed&limit=1");
    let first = reader.page(&lost, &[">2</strong> tasks in all", &stars[1], "Next"]).await?;
    ensure!(!first.contains(&stars[2]), "one at a time: {first}");
    let next = first.split("after=").nth(1).and_then(|rest| rest.split('"').next()).context("a next page")?;
    let second = reader.page(&format!("{lost}&after={next}"), &[&stars[2]]).await?;
    ensure!(!second.contains(">Next<"), "that is the end: {second}");

    reader.page("/queues", &["sas.tasks.default", "FAILS", "1 of 3"]).await?;
    reader.page("/workers", &["host-a", "FAILS", &stars[0]]).await?;
    reader.page("/events", &["l1/lightcurve", "</a> settled + <a", "</a> in flight"]).await?;
    for (query, leads) in [(&run[..6], format!("/runs/{run}")), (&stars[1][..], format!("/stars/{}", stars[1]))] {
        let found = reader.client.get(format!("{}/search?q={query}", reader.address)).send().await?;
        let to = found.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default().to_owned();
        ensure!(to.starts_with(&leads), "{query} leads to {to}");
    }
    for (path, status, words) in [
        (of("/tasks?state=dead"), 400, "<code>state</code> is"),
        (of("/tasks?module=NONE"), 404, "no module NONE"),
        (of("/do/stop"), 404, "expected pause"),
        ("/runs/00000000".to_owned(), 404, "no run begins"),
        ("/search?q=%3Cscript%3E".to_owned(), 400, "type a run or a star"),
    ] {
        reader.refused(&path, status, words).await?;
    }
    Ok(())
}

/// Actions in two steps.
async fn act(reader: &PageReader, cluster: &Cluster, run: &str) -> Result<()> {
    let of = |rest: &str| format!("/runs/{run}{rest}");
    let why = ("reason", "it is <b>late</b>");
    reader.page(&of("/do/pause"), &["Why?", "Pause the run", "sas run pause"]).await?;
    let unsaid = reader.send(&of("/do/pause"), &[]).await?;
    assert_eq!(unsaid.0, 409, "a reason must be given");
    let (status, leads) = reader.send(&of("/do/pause"), &[why]).await?;
    assert_eq!((status, leads), (303, of("?decided=1&audit=2")));
    reader.page(&of("?decided=1&audit=2"), &["Decision 1 is on record", "line 2 of the audit"]).await?;
    wait_for(cluster, &["run", "show"], |run| run["phase"] == "paused").await?;
    reader.page(&of(""), &["paused", "Resume…"]).await?;
    assert_eq!(reader.send(&of("/do/pause"), &[why]).await?.0, 200, "it is so already");

    // Far more than was counted is not touched.
    let retry = of("/do/retry?state=failed&module=FAILS");
    reader.page(&retry, &["2 failed tasks of FAILS", "name=\"count\" value=\"2\""]).await?;
    assert_eq!(reader.send(&retry, &[why, ("count", "1")]).await?.0, 409);
    let decisions = |answer: &Value| answer["decisions"].as_array().map_or(0, Vec::len);
    assert_eq!(decisions(&cluster.ask(&["run", "show", run])?), 1, "nothing was decided by that");
    assert_eq!(reader.send(&retry, &[why, ("count", "2")]).await?.1, of("?decided=2&audit=3"));
    assert_eq!(reader.send(&of("/do/priority"), &[why, ("weight", "0")]).await?.0, 400);
    assert_eq!(reader.send(&of("/do/priority"), &[why, ("weight", "7")]).await?.1, of("?decided=3&audit=4"));
    let shown = cluster.ask(&["run", "show", run])?;
    assert_eq!((decisions(&shown), &shown["decisions"][2]["weight"]), (3, &json!(7)), "{shown}");

    assert_eq!(reader.send("/hosts/host-a/do/drain", &[why]).await?.0, 303);
    let workers = cluster.ask(&["worker", "list"])?;
    assert_eq!(workers["drained"][0]["host"], "host-a", "{workers}");
    reader.page("/workers", &["Hosts that are drained"]).await?;
    assert_eq!(reader.send(&format!("/modules/PAGES/BELOW/do/hold?run={run}"), &[why]).await?.1, of("?audit=6"));
    assert_eq!(cluster.ask(&["module", "list"])?[0]["module"], "BELOW");
    let words = ["it is &lt;b&gt;late&lt;/b&gt;", "priority", "hold", "drain", "retry", "page"];
    reader.page("/audit", &words).await?;
    Ok(())
}
