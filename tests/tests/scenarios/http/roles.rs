//! Where other hosts reach a coordinator: nobody without a token, and each as far as the role goes.

use std::time::Duration;

use anyhow::{Context, Result};
use harness::free_address;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, config, sas};
use super::{event, stars, world};

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_need_tokens_and_a_role_decides_what_these_are_good_for() -> Result<()> {
    let world = world(64).await?;
    let listen = free_address()?;
    let everywhere = listen.replace("127.0.0.1", "0.0.0.0");
    let _ = world.coordinator_at(config(&everywhere, None), Vec::new()).await;
    let refused = world.violations();
    assert!(refused.len() == 1 && refused[0].contains("sas token new"), "{refused:?}");

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tokens");
    let (mut lines, mut tokens) = (Vec::new(), Vec::new());
    for role in ["viewer", "ingestion", "operator"] {
        let made = sas(world.store.root(), &["token", "new", &format!("{role}@test"), "--role", role])?;
        let word = |field: &str| made[field].as_str().map(str::to_owned).context("a text");
        lines.push(word("line")?);
        tokens.push(word("token")?);
    }
    std::fs::write(&file, lines.join("\n"))?;
    let _working = world.coordinator_at(config(&everywhere, Some(&file)), Vec::new());
    let client = |token: Option<&String>| Client::new(&listen).with(token.cloned());
    let nobody = client(None);
    nobody.is_up().await?;

    let unknown = nobody.ask("/status").await?;
    assert_eq!(unknown.header("www-authenticate"), "Bearer");
    unknown.is(401);
    client(Some(&"sas_0".to_owned())).ask("/status").await?.is(401);
    world.deliver(&stars(1))?;
    let mut may = Vec::new();
    for (token, id) in tokens.iter().zip(["1", "2", "3"]) {
        let client = client(Some(token));
        let published = client.send("/events", "application/cloudevents+json", &[], &event(id, stars(1))?).await?;
        let drained = client.post("/hosts/here/drain", &json!({})).await?;
        may.push([client.ask("/status").await?.status, published.status, drained.status]);
    }
    assert_eq!(may, [[200, 403, 403], [200, 202, 403], [200, 202, 200]]);
    let audit = client(Some(&tokens[0])).ask("/audit").await?.is(200);
    let who: Vec<&Value> = audit["lines"].as_array().context("lines")?.iter().map(|line| &line["who"]).collect();
    assert_eq!(who, ["operator@test", "operator@test", "ingestion@test"]);

    // A browser: sent to log in, and back with a cookie that no script reads.
    let sent = nobody.page(Method::GET, "/", &[], "").await?;
    assert_eq!((sent.status, sent.header("location")), (303, "/login?next=%2F".to_owned()));
    let form = nobody.page(Method::GET, "/login?next=%2Fruns", &[], "").await?;
    assert!(
        form.body.contains("name=\"token\"") && form.header("content-security-policy").contains("'self'"),
        "{form:?}"
    );
    let log_in = async |token: &str| {
        let origin = format!("http://{listen}");
        nobody
            .page(Method::POST, "/login", &[("origin", &origin)], &format!("token={token}&next=%2F%2Fevil.example"))
            .await
    };
    assert_eq!(log_in("sas_0").await?.status, 401);
    let logged_in = log_in(&tokens[0]).await?;
    let cookie = logged_in.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_eq!((logged_in.status, logged_in.header("location")), (303, "/".to_owned()));
    let cookie = cookie.split(';').next().unwrap_or_default();
    assert_eq!(nobody.page(Method::GET, "/", &[("cookie", cookie)], "").await?.status, 200);

    // A line that is taken away is a token that is void.
    std::fs::write(&file, &lines[1])?;
    let is_void = async || client(Some(&tokens[0])).ask("/status").await.is_ok_and(|answer| answer.status == 401);
    harness::wait_until(Duration::from_secs(15), "the token is void", is_void).await?;
    client(Some(&tokens[1])).ask("/status").await?.is(200);
    Ok(())
}
