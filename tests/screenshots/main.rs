//! Takes a picture of every page, light and dark, wide and narrow: `make screenshots`. They are in `target/screenshots`, or in
//! the directory that is named.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use harness::browser::Browser;
use harness::exhibit::Exhibit;

/// Width and height of the windows.
const WINDOWS: [(&str, u32, u32); 2] = [("wide", 1400, 1000), ("narrow", 420, 900)];

#[tokio::main]
async fn main() -> Result<()> {
    let directory = std::env::args().nth(1).map_or_else(|| PathBuf::from("../target/screenshots"), PathBuf::from);
    fs::create_dir_all(&directory)?;
    let exhibit = Exhibit::open("the fit did not converge").await?;
    for (window, width, height) in WINDOWS {
        let browser = Browser::start(width, height).await?;
        // A window of its own cannot be as narrow as a telephone.
        browser.resize(width, height).await?;
        for theme in ["light", "dark"] {
            browser.open(&exhibit.address).await?;
            browser.run(&format!("localStorage.setItem('theme', '{theme}')")).await?;
            for (name, path) in exhibit.pages() {
                browser.open(&format!("{}{path}", exhibit.address)).await?;
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
