//! Images that tests run containers of; made from sources when they are not there, since no registry is needed.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

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
