//! Programs whose file is replaced or deleted while they run, as an upgrade does it.

use std::process::{Command, Stdio};

use harness::light::Campaign;
use harness::program;

/// The file of its settings is a pipe: it cannot go on before its own file is gone.
#[test]
fn a_program_whose_file_is_gone_starts_its_store_agents_all_the_same() {
    let mut campaign = Campaign::new().unwrap();
    campaign.deliver(0, "quiet=1", 1).unwrap();
    let [sas, settings] = ["sas", "settings.toml"].map(|name| campaign.path(name));
    std::fs::copy(program("sas-cli", "sas"), &sas).unwrap();
    assert!(Command::new("mkfifo").arg(&settings).status().unwrap().success());
    let running = Command::new(&sas)
        .args(["ingest", "--init"])
        .args(campaign.star_files().unwrap())
        .env("SAS_STORE_ROOT", campaign.path("store"))
        .env("SAS_CONFIG", &settings)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = std::fs::OpenOptions::new().write(true).open(&settings).unwrap();
    std::fs::remove_file(&sas).unwrap();
    drop(pipe);
    let done = running.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
