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

/// Packs a directory as an image of one layer, as `docker save` does.
const PACK: &str = r#"
import hashlib, io, json, sys, tarfile
files, archive, name, program, processor = sys.argv[1:]
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar: tar.add(files, ".")
layer = layer.getvalue()
rootfs = {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}
config = {"architecture": processor, "os": "linux", "config": {"Cmd": [program]}, "rootfs": rootfs}
manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
parts = {"layer.tar": layer, "config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
with tarfile.open(archive, "w") as tar:
    for part, content in parts.items():
        entry = tarfile.TarInfo(part)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
"#;

/// An image of one test, as the base image with some more instructions; it goes when this is dropped.
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

    /// Makes one `FROM scratch` of what is in a directory, which runs `program` and says that it is for this processor.
    pub fn of_files(files: &Path, program: &str, processor: &str) -> Result<Self> {
        let (name, archive) = (format!("sas/test-{:016x}:1", rand::random::<u64>()), files.with_extension("tar"));
        let mut pack = Command::new("/usr/bin/python3");
        let packed = pack.args(["-c", PACK]).arg(files).arg(&archive).args([&name, program, processor]).status()?;
        ensure!(packed.success(), "{} cannot be packed", files.display());
        let mut load = Command::new("docker");
        let loaded = load.args(["load", "--quiet", "--input"]).arg(&archive).stdout(Stdio::null()).status();
        ensure!(loaded.context("failed to run docker load")?.success(), "an image cannot be loaded");
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
