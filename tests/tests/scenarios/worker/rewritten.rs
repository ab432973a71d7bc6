//! A program that ends well and leaves another, out of its process group, which writes to the output for as long as it can.

use std::path::Path;

use store::agent::At;

use super::field::Field;
use super::{product, succeeded};

/// Writes X, and leaves a process that changes a value of it until nobody has the file any more.
const PROGRAM: &str = r#"
import h5py, itertools, json, numpy as np, os, struct, sys, time

def make(output):
    with h5py.File(output, "w") as f:
        f["PRODUCTS/X/value"] = np.zeros(int(sys.argv[1]))
        at = f["PRODUCTS/X/value"].id.get_offset()
    begins, begun = os.pipe()
    if os.fork() == 0:
        os.setsid()
        for fd in (0, 1, 2): os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        fd, end = os.open(output, os.O_WRONLY), time.monotonic() + 60
        for n in itertools.count(1):
            os.pwrite(fd, struct.pack("<d", n), at)
            if n == 1: os.write(begun, b"1")
            if n % 1000 == 0 and (os.fstat(fd).st_nlink == 0 or time.monotonic() > end): os._exit(0)
    os.read(begins, 1)

if os.environ.get("SAS_SERVE") != "1":
    make(os.environ["SAS_OUTPUT"])
    sys.exit()
print(json.dumps({"ready": 1}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    make(request["output"])
    print(json.dumps({"id": request["id"], "exit": 0, "message": ""}), flush=True)
"#;

fn module(dir: &Path, (name, product): (&str, &str), mode: &str, values: u32) -> String {
    let program = dir.join(format!("{name}.py"));
    std::fs::write(&program, PROGRAM.replace("PRODUCTS/X", &format!("PRODUCTS/{product}"))).unwrap();
    format!(
        "[modules.{name}]\nimage = \"light\"\ncommand = [\"/usr/bin/python3\", {program:?}, \"{values}\"]\nmode = \"{mode}\"\n\
         class = \"default\"\ntime_limit = \"1m\"\ninputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"{product}\"]\n"
    )
}

#[tokio::test]
async fn an_output_that_is_rewritten_for_ever_is_committed_with_the_digest_of_its_data() {
    const MODULES: [(&str, &str); 3] = [("A", "X"), ("B", "Y"), ("C", "Z")];
    let modules = |dir: &Path| {
        let kinds = [("oneshot", 1), ("oneshot", 500_000), ("serve", 500_000)];
        MODULES.into_iter().zip(kinds).map(|(names, (mode, values))| module(dir, names, mode, values)).collect()
    };
    let mut field = Field::new(modules).await;
    let worker = field.worker(|_| {}).await;
    let outcomes = field.outcomes().await;
    for (module, name) in MODULES {
        let success = succeeded(outcomes[module].clone());
        let file = product(&field, module, &success.key);
        let said = field.agent().manifest(&file).await.unwrap().products[&name.parse().unwrap()].clone();
        let held = field.agent().digest(At { file, path: format!("/PRODUCTS/{name}") }).await.unwrap();
        assert_eq!(held, said, "{module}");
        assert_eq!(held.digest, success.products[&name.parse().unwrap()], "{module}");
    }
    worker.stop();
    worker.ended().await;
}
