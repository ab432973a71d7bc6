//! An image registry that wants a login, and images small enough to be made, pushed and pulled in a second.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::services::Service;

/// The one user of the registry.
const USER: &str = "kepler";

/// The password, another, and the line in the registry's file.
const PASSWORD: &str = "Kepler-37b!";
const WRONG: &str = "secret-and-wrong";
const HTPASSWD: &str = "kepler:$2b$04$TNsT/7JL8zHFKz0sjFByjeIfhg1U0LH2KNwEC8sIUCk350CMk7xg.\n";

/// Plays any module: gives out the file of its name, says which version it is. As module `A` it first says that it is up
/// and waits until it may go on, by files beside its output.
const PROGRAM: &str = r#"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int copy(const char *from, const char *to) {
    static char bytes[1 << 20];
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    if (!in || !out) return 1;
    size_t read = fread(bytes, 1, sizeof bytes, in);
    return fwrite(bytes, 1, read, out) != read || fclose(out);
}
int main(void) {
    const char *module = getenv("SAS_MODULE"), *output = getenv("SAS_OUTPUT");
    char from[256];
    if (module && !strcmp(module, "A")) {
        close(open("/sas/out/up", O_CREAT | O_WRONLY, 0644));
        while (access("/sas/out/go", F_OK)) poll(0, 0, 20);
    }
    copy("/version", "/dev/stdout");
    snprintf(from, sizeof from, "/%s.h5", module ? module : "A");
    return output ? copy(from, output) : 0;
}
"#;

/// A registry of our own on loopback, which engines accept without TLS.
pub struct Registry {
    service: Service,
    /// IDs of images that were made on this host to be pushed.
    made: Mutex<Vec<String>>,
}

/// What is in an image: a program, its version, and a result for each module that it plays.
pub struct TinyImage {
    folder: tempfile::TempDir,
}

impl Registry {
    /// Starts one.
    pub fn start() -> Result<Self> {
        let service = Service::prepare("registry", 1)?;
        fs::write(service.directory.join("htpasswd"), HTPASSWD)?;
        service.start()?;
        let registry = Self { service, made: Mutex::default() };
        registry.write_login("login", PASSWORD)?;
        registry.write_login("wrong", WRONG)?;
        registry.write_helper()?;
        Ok(registry)
    }

    /// The name of an image in it.
    pub fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/sas/{name}", self.service.port)
    }

    /// A folder with a `config.json` that logs in, as `docker login` writes it.
    pub fn login(&self) -> PathBuf {
        self.service.directory.join("login")
    }

    /// A folder with a `config.json` whose password is wrong.
    pub fn wrong_login(&self) -> PathBuf {
        self.service.directory.join("wrong")
    }

    /// A folder with a `config.json` that names a credential helper, which is in the folder, too.
    pub fn helper(&self) -> PathBuf {
        self.service.directory.join("helper")
    }

    /// What must be in no message and no log: the passwords, as they are and within anything written in base64.
    pub fn secrets(&self) -> Vec<String> {
        let encoded = |password: &str, shift: usize| {
            let aligned = &password[shift..];
            base64(&aligned[..aligned.len() / 3 * 3])
        };
        let of = |password: &'static str| {
            (0..3).map(move |shift| encoded(password, shift)).chain([password.to_owned()]).collect::<Vec<_>>()
        };
        [PASSWORD, WRONG].into_iter().flat_map(of).collect()
    }

    /// Pushes an image under this name and takes it from this host; returns its digest.
    pub fn push(&self, image: &str, made: &TinyImage) -> Result<String> {
        let id = made.import(image)?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        docker(&["--config", path(&self.login())?, "push", "-q", image])?;
        let digests = docker(&["image", "inspect", "--format", "{{join .RepoDigests \" \"}}", image])?;
        let repository = image.rsplit_once(':').context("an image has a tag")?.0;
        let digest = digests.split_whitespace().find(|digest| digest.starts_with(repository));
        let digest = digest.context("the engine knows no digest of what it pushed")?.to_owned();
        self.forget()?;
        Ok(digest)
    }

    /// Takes all its images from this host.
    pub fn forget(&self) -> Result<()> {
        let of_here = format!("127.0.0.1:{}/", self.service.port);
        let listed = docker(&["images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"])?;
        for line in listed.lines().filter(|line| line.starts_with(&of_here)) {
            let mut words = line.split(' ');
            let (Some(repository), Some(tag), Some(digest)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            if tag != "<none>" {
                _ = docker(&["rmi", "-f", &format!("{repository}:{tag}")]);
            }
            if digest != "<none>" {
                _ = docker(&["rmi", "-f", &format!("{repository}@{digest}")]);
            }
        }
        Ok(())
    }

    /// Ends it; images that hosts have stay.
    pub fn stop(&self) -> Result<()> {
        self.service.end("stop")
    }

    fn write_login(&self, folder: &str, password: &str) -> Result<()> {
        let auth = base64(&format!("{USER}:{password}"));
        let config = format!(r#"{{"auths":{{"127.0.0.1:{}":{{"auth":"{auth}"}}}}}}"#, self.service.port);
        self.write(folder, "config.json", &config).map(drop)
    }

    fn write_helper(&self) -> Result<()> {
        let config = format!(r#"{{"credHelpers":{{"127.0.0.1:{}":"sas-test"}}}}"#, self.service.port);
        self.write("helper", "config.json", &config)?;
        let answer = format!(r#"{{"Username":"{USER}","Secret":"{PASSWORD}"}}"#);
        let program =
            self.write("helper", "docker-credential-sas-test", &format!("#!/bin/sh\nread -r _\necho '{answer}'\n"))?;
        Ok(fs::set_permissions(program, fs::Permissions::from_mode(0o755))?)
    }

    fn write(&self, folder: &str, name: &str, text: &str) -> Result<PathBuf> {
        let folder = self.service.directory.join(folder);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), text)?;
        Ok(folder.join(name))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        _ = self.forget();
        // Those that a container used when they lost their names.
        for id in self.made.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            _ = docker(&["rmi", "-f", id]);
        }
    }
}

impl TinyImage {
    /// An image of this version: module `A` gives product `X`, module `B` product `Y`, whose values are the version.
    pub fn new(version: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut compiler = Command::new("gcc")
            .args(["-static", "-O1", "-s", "-x", "c", "-", "-o"])
            .arg(folder.path().join("run"))
            .stdin(Stdio::piped())
            .spawn()
            .context("failed to run gcc")?;
        std::io::Write::write_all(&mut compiler.stdin.take().context("gcc has an input")?, PROGRAM.as_bytes())?;
        ensure!(compiler.wait()?.success(), "gcc failed");
        fs::write(folder.path().join("version"), format!("version {version}\n"))?;
        let script = format!(
            "import h5py\nfor module, product in (('A', 'X'), ('B', 'Y')):\n    \
             with h5py.File(f'{}/{{module}}.h5', 'w') as file: file[f'PRODUCTS/{{product}}/value'] = {version}",
            folder.path().display()
        );
        let made = Command::new("/usr/bin/python3").args(["-c", &script]).status()?;
        ensure!(made.success(), "h5py failed");
        for entry in fs::read_dir(folder.path())? {
            fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { folder })
    }

    /// Gives it to the engine under this name; returns its ID.
    fn import(&self, image: &str) -> Result<String> {
        let tar = Command::new("tar").arg("-C").arg(self.folder.path()).args(["-c", "."]).output()?;
        ensure!(tar.status.success(), "tar failed");
        let mut import = Command::new("docker")
            .args(["import", "--change", "CMD [\"/run\"]", "-", image])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to run docker")?;
        std::io::Write::write_all(&mut import.stdin.take().context("docker has an input")?, &tar.stdout)?;
        let done = import.wait_with_output()?;
        ensure!(done.status.success(), "docker import failed");
        Ok(String::from_utf8(done.stdout)?.trim().to_owned())
    }
}

/// Runs the engine's program; what it says.
pub(crate) fn docker(arguments: &[&str]) -> Result<String> {
    let done = Command::new("docker").args(arguments).output().context("failed to run docker")?;
    ensure!(done.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("the temporary directory has a name that is not UTF-8")
}

/// As `base64` of coreutils, for the one place that needs it.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    let mut written = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        let digits = [18, 12, 6, 0].map(|shift| digit(bits >> shift));
        written.extend(&digits[..=three.len()]);
        written.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    written
}
