//! An output that costs more to read than anything of its size does.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use domain::outcome::FailureKind;
use harness::program;

use super::failed;
use super::field::Field;

/// A heap object in it says that it is as large as can be: the library loops over it, and is stopped.
#[tokio::test]
async fn an_output_that_costs_too_much_to_read_is_the_modules_failure_and_read_once() {
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/store/tests/python/hostile.py");
    let mut field = Field::new(|_| {
        format!(
            "[modules.A]\nimage = \"none\"\ncommand = [\"/bin/sh\", \"-c\", \"exec /usr/bin/python3 -B {} endless_heap $SAS_OUTPUT\"]\n\
             class = \"default\"\ntime_limit = \"1m\"\ninputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]\n",
            hostile.display()
        )
    })
    .await;
    // Says whenever an agent begins.
    let [agent, begun] = ["agent", "begun"].map(|name| field.store.root().with_file_name(name));
    let real = program("sas-store", "sas-store-agent");
    let script = format!("#!/bin/sh\necho x >>'{}'\nexec '{}' \"$@\"\n", begun.display(), real.display());
    std::fs::write(&agent, script).unwrap();
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();

    let worker = field.worker(|config| config.agent = Some(agent)).await;
    let failure = failed(field.outcome("A").await);
    assert_eq!(failure.kind, FailureKind::OutputCorrupt, "{}", failure.message);
    let words = "output.h5: it takes more time to be read than anything of the size that it has and declares";
    assert!(failure.message.contains(words), "{}", failure.message);
    assert_eq!(std::fs::read_to_string(&begun).unwrap().lines().count(), 1, "it was read again");
    worker.stop();
    worker.ended().await;
}
