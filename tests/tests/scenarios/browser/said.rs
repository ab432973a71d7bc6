//! What pages say is what the API answers, while nothing moves.

use anyhow::{Result, ensure};
use harness::browser::Browser;
use harness::exhibit::Exhibit;
use serde_json::Value;

use super::{api, shown, table};

pub(super) async fn pages_say_what_the_api_answers(exhibit: &Exhibit, browser: &Browser) -> Result<()> {
    let page = async |path: &str, label: &str| {
        browser.open(&format!("{}{path}", exhibit.address)).await?;
        table(browser, label).await
    };
    let Exhibit { ended, open, whole, failed, hanging, .. } = exhibit;

    let status = api(exhibit, "/status").await?;
    let of_runs = |run: &Value| {
        let count = |pointer: &str| run.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let settled = count("/stars") - count("/to_come") - count("/in_flight");
        [
            ("Stars", count("/stars")),
            ("Settled", settled),
            ("In flight", count("/in_flight")),
            ("To come", count("/to_come")),
            ("Running", count("/running")),
            ("Waiting", count("/tasks/waiting")),
            ("Failed", count("/tasks/failed") + count("/tasks/errored")),
        ]
        .map(|(head, count)| (head.to_owned(), count.to_string()))
        .to_vec()
    };
    same("overview", &page("/", "Runs").await?, list(&status["runs"]), of_runs)?;
    let words = browser.words().await?;
    let red = &status["answers"][1];
    ensure!(red["question"] == "red" && words.contains(text(&red["lines"][0])), "{red} is not said: {words}");

    for run in [ended, open] {
        let modules = api(exhibit, &format!("/runs/{run}/modules")).await?;
        let of_module = |module: &Value| {
            let counts = module["tasks"].as_object().into_iter().flatten();
            let mut said: Vec<_> = counts.map(|(state, count)| (state.clone(), count.to_string())).collect();
            said.push(("Module".to_owned(), text(&module["module"]).to_owned()));
            said
        };
        same("run", &page(&format!("/runs/{run}"), "Modules").await?, list(&modules["drawn"]), of_module)?;
    }

    let failures = api(exhibit, &format!("/runs/{ended}/failures")).await?;
    let of_group = |group: &Value| cells(group, &[("Tasks", "/count"), ("Module", "/module"), ("Host", "/host")]);
    let shown_groups = page(&format!("/runs/{ended}/failures"), "Groups of failures").await?;
    same("failures", &shown_groups, list(&failures["groups"]), of_group)?;

    let flow = api(exhibit, "/queues").await?;
    let of_queue = |queue: &Value| {
        let fields = [
            ("Queue", "/queue"),
            ("Ready", "/ready"),
            ("Unacknowledged", "/unacknowledged"),
            ("Consumers", "/consumers"),
        ];
        cells(queue, &fields)
    };
    same("queues", &page("/queues", "Queues of the broker").await?, list(&flow["queues"]), of_queue)?;
    for queue in list(&flow["queues"]).iter().filter(|queue| queue["class"].is_object()) {
        let class = text(&queue["queue"]).trim_start_matches("sas.tasks.");
        let mut lines = table(browser, &format!("Tasks of class {class}")).await?;
        lines.pop();
        let of_module = |module: &Value| {
            let places = [("Ready", "/ready"), ("In progress", "/in_progress"), ("Waiting", "/waiting")];
            let rest = [("Module", "/module"), ("On hold", "/on_hold"), ("To come", "/to_come")];
            [cells(module, &places), cells(module, &rest)].concat()
        };
        same(class, &lines, list(&queue["class"]["modules"]), of_module)?;
    }

    let workers = api(exhibit, "/workers").await?;
    let of_worker = |worker: &Value| {
        let ended = [
            ("Attempts", "/ended/all"),
            ("Failed", "/ended/failed"),
            ("Errored", "/ended/errored"),
            ("Lost", "/ended/lost"),
        ];
        [cells(worker, &[("Host", "/host")]), cells(worker, &ended)].concat()
    };
    same("workers", &page("/workers", "Workers").await?, list(&workers["workers"]), of_worker)?;

    let running = api(exhibit, &format!("/runs/{open}/tasks?state=running")).await?;
    let of_task = |task: &Value| {
        cells(task, &[("Star", "/star"), ("Module", "/module"), ("Attempt", "/attempt"), ("Host", "/host")])
    };
    same(
        "tasks",
        &page(&format!("/runs/{open}/tasks?state=running"), "Tasks").await?,
        list(&running["tasks"]),
        of_task,
    )?;

    for (star, run) in [(whole, ended), (failed, ended), (hanging, open)] {
        let found = api(exhibit, &format!("/stars/{star}?run={run}")).await?;
        let lines = page(&format!("/stars/{star}?run={run}"), "Tasks of the star").await?;
        for task in list(&found["tasks"]) {
            let state =
                if task["running"] == true { "running".to_owned() } else { text(&task["state"]).replace('_', " ") };
            let is_said = |line: &&Value| line["Module"] == task["module"] && text(&line["State"]).ends_with(&state);
            ensure!(
                lines.iter().any(|line| is_said(&line)),
                "{} of {star} is {state}, and not so in {lines:?}",
                task["module"]
            );
        }
    }
    Ok(())
}

/// Cells of a line, by the heads of their columns.
type CellsByHead = Vec<(String, String)>;

/// Fails where a line of a table does not say what the answer's part in the same place says.
fn same(page: &str, lines: &[Value], answered: &[Value], cells: impl Fn(&Value) -> CellsByHead) -> Result<()> {
    ensure!(!lines.is_empty() && lines.len() == answered.len(), "{page} has {lines:?}, and the API {answered:?}");
    for (line, part) in lines.iter().zip(answered) {
        for (head, expected) in cells(part) {
            // Beside a number or a name may stand what is more to know.
            let said = text(&line[head.replace('_', " ")]).split_whitespace().next().unwrap_or_default();
            ensure!(
                said == expected || text(&line[&head]) == expected,
                "{page}: {head} is {said:?}, and {expected:?} in {part}"
            );
        }
    }
    Ok(())
}

/// Columns, each with where the answer has what it shows.
fn cells(part: &Value, columns: &[(&str, &str)]) -> CellsByHead {
    let cell = |(head, field): &(&str, &str)| {
        ((*head).to_owned(), shown(part.pointer(field).unwrap_or(&Value::Null), "not known"))
    };
    columns.iter().map(cell).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
