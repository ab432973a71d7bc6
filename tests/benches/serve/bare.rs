//! Containers of one star beside what the engine can do bare: create, start, wait, remove, as many at once as it does best.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use domain::pipeline::Mode;
use futures::future::try_join_all;
use harness::base_image;
use harness::results::{Figure, Limit, Results};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::CONTAINERS;
use super::scene::{EMPTY, ServeScene};

/// How many at once are tried.
const AT_ONCE: [u32; 4] = [1, 2, 3, 4];

pub(crate) async fn measure(results: &mut Results, rounds: usize) -> Result<()> {
    let mut best = (0.0, 1);
    for at_once in AT_ONCE {
        let rate = bare(at_once, CONTAINERS / 2).await?;
        println!("bare engine, {at_once} at once: {rate:.2} containers/s");
        best = if rate > best.0 { (rate, at_once) } else { best };
    }
    let (_, at_once) = best;
    println!("\n{:<24}{:>14}{:>14}{:>8}", format!("containers, {at_once} at once"), "ours/s", "bare/s", "ratio");
    let (mut ratios, mut limits) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let scene = ServeScene::new(CONTAINERS)?;
        let limit = bare(at_once, CONTAINERS).await?;
        let ours = scene.run(EMPTY, Mode::Oneshot, at_once)?.rate().await?;
        println!("{round:<24}{ours:>14.2}{limit:>14.2}{:>8.2}", ours / limit);
        ratios.push(ours / limit);
        limits.push(limit);
    }
    results.add("bare_containers", Figure::new("containers/s", limits, Limit::None));
    results.add("oneshot_vs_bare", Figure::new("ratio", ratios, Limit::Least(0.9)));
    Ok(())
}

/// Containers a second, in so many loops at once.
async fn bare(at_once: u32, count: u32) -> Result<f64> {
    let began = Instant::now();
    let each = count / at_once;
    try_join_all((0..at_once).map(|_| async move {
        for _ in 0..each {
            one().await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(f64::from(each * at_once) / began.elapsed().as_secs_f64())
}

async fn one() -> Result<()> {
    let body = json!({ "Image": base_image(), "Cmd": EMPTY, "HostConfig": { "NetworkMode": "none" } });
    let created: Value = serde_json::from_str(&engine("POST", "/containers/create", &body.to_string()).await?)?;
    let id = created["Id"].as_str().context("a container has an id")?;
    engine("POST", &format!("/containers/{id}/start"), "").await?;
    engine("POST", &format!("/containers/{id}/wait"), "").await?;
    engine("DELETE", &format!("/containers/{id}"), "").await?;
    Ok(())
}

/// Asks the engine something, and returns the body of its answer.
async fn engine(method: &str, path: &str, body: &str) -> Result<String> {
    let socket = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let socket = PathBuf::from(socket.strip_prefix("unix://").context("the engine is not on a socket of this host")?);
    let mut stream =
        UnixStream::connect(&socket).await.with_context(|| format!("failed to reach {}", socket.display()))?;
    let head = format!(
        "{method} /v1.41{path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the engine answers in HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status.starts_with('2'), "{method} {path}: {answer}");
    Ok(body.to_owned())
}
