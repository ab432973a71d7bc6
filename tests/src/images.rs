//! Images that tests run containers of; made from sources when they are not there, since no registry is needed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// A Debian with shell, Python, numpy and h5py: the base of the reference modules.
pub fn base_image() -> &'static str {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/images/base.sh");
        let made = Command::new(&script).status();
        assert!(made.is_ok_and(|status| status.success()), "{} failed", script.display());
    });
    "sas/base:bookworm"
}

/// The base image with some more instructions; it goes when this is dropped.
pub struct Variant(String);

impl Variant {
    /// Makes one; the instructions are those of a Dockerfile.
    pub fn of_base(instructions: &str) -> Result<Self> {
        let name = format!("sas/test-{:016x}:1", rand::random::<u64>());
        let mut build = Command::new("docker")
            .args(["build", "--quiet", "--tag", &name, "-"])
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to run docker build")?;
        let mut input = build.stdin.take().context("stdin is piped")?;
        writeln!(input, "FROM {}\n{instructions}", base_image())?;
        drop(input);
        ensure!(build.wait()?.success(), "an image with {instructions:?} cannot be built");
        Ok(Self(name))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Variant {
    fn drop(&mut self) {
        _ = Command::new("docker").args(["rmi", &self.0]).stdout(Stdio::null()).status();
    }
}
