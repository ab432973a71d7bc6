//! Takes a picture of every page, light and dark, wide and narrow: `make screenshots`. They are in `target/screenshots`, or in
//! the directory that is named.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::browser::Browser;
use harness::cluster::Running;
use harness::exhibit::Exhibit;
use harness::{ask, free_address, wait_until};

/// Width and height of the windows.
const WINDOWS: [(&str, u32, u32); 2] = [("wide", 1400, 1000), ("narrow", 420, 900)];

#[tokio::main]
async fn main() -> Result<()> {
    let directory = std::env::args().nth(1).map_or_else(|| PathBuf::from("../target/screenshots"), PathBuf::from);
    fs::create_dir_all(&directory)?;
    let exhibit = Exhibit::open("the fit did not converge").await?;
    let mut tokens = tempfile::NamedTempFile::new()?;
    let (_guarded, login) = guarded(&exhibit, &mut tokens).await?;
    let star = format!("/stars/{}?run={}", exhibit.whole, exhibit.ended);
    let further = [
        ("star-plots", format!("{star}#plots")),
        ("star-products", format!("{star}#products")),
        ("star-generations", format!("{star}#generations")),
        ("not-there", "/runs/00000000".to_owned()),
        ("not-found", "/search?q=nothing".to_owned()),
    ];
    let of_exhibit = exhibit.pages().into_iter().chain(further);
    let mut pages: Vec<(&str, String)> =
        of_exhibit.map(|(name, path)| (name, format!("{}{path}", exhibit.address))).collect();
    pages.push(("login", login.clone()));
    for (window, width, height) in WINDOWS {
        let browser = Browser::start(width, height).await?;
        // A window of its own cannot be as narrow as a telephone.
        browser.resize(width, height).await?;
        for theme in ["light", "dark"] {
            // Colours are remembered by address and port.
            for address in [&exhibit.address, &login] {
                browser.open(address).await?;
                browser.run(&format!("localStorage.setItem('theme', '{theme}')")).await?;
            }
            for (name, address) in &pages {
                browser.open(address).await?;
                browser.drawn().await?;
                let file = directory.join(format!("{name}-{window}-{theme}.png"));
                fs::write(&file, browser.picture().await?)?;
                println!("{}", file.display());
            }
        }
        browser.close().await?;
    }
    Ok(())
}

/// A coordinator that asks for tokens, and where one logs in to it.
async fn guarded(exhibit: &Exhibit, tokens: &mut tempfile::NamedTempFile) -> Result<(Running, String)> {
    let made = exhibit.cluster.ask(&["token", "new", "viewer", "--role", "viewer"])?;
    writeln!(tokens, "{}", made["line"].as_str().context("a line for the file")?)?;
    let listen = free_address()?;
    let file = tokens.path().to_str().context("a path that is no UTF-8")?;
    let settings = [("SAS_HTTP_LISTEN", listen.as_str()), ("SAS_HTTP_TOKENS", file)];
    let coordinator = exhibit.cluster.coordinator_with("guarded", &settings)?;
    let answers = async || ask(&listen, "/livez").await.is_ok();
    wait_until(Duration::from_secs(30), "it answers", answers).await?;
    Ok((coordinator, format!("http://{listen}/login")))
}
