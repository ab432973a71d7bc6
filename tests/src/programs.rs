//! The project's own programs, as tests start them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The program `name` of `package`, from the target directory of the running test. It is built where it is missing; whoever
/// changes one runs `cargo build --workspace --bins` before the tests, as `make test` does.
pub fn program(package: &str, name: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let here = std::env::current_exe().expect("a test has a program");
    let debug = here.parent().and_then(Path::parent).expect("tests lie in <target>/<profile>/deps");
    let path = debug.join(name);
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !path.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", package, "--bin", name])
            .env("CARGO_TARGET_DIR", debug.parent().expect("a profile lies in a target directory"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.is_ok_and(|status| status.success()), "{name} could not be built");
    }
    path
}
