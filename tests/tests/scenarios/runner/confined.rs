//! Everything that a module must not be able to do, tried from inside a real container.

use super::*;

/// What is tried; it prints what was possible.
const TRIES: &str = include_str!("confined.py");

#[tokio::test]
async fn from_inside_a_container_nothing_is_reached_but_input_output_and_memory() {
    let mut bench = RunnerBench::in_containers("").await;
    std::fs::write(bench.spec.input.join("tries.py"), TRIES).unwrap();
    let store = bench.dir.path().display().to_string();
    bench.spec.program.command = ["python3", "/sas/in/tries.py", &store].map(str::to_owned).to_vec();
    let ended = bench.run().await;
    assert_eq!((ended.exit, ended.log.as_str()), (Exit::Code(0), "possible: []\n"));
}

#[tokio::test]
async fn programs_that_compute_with_threads_processes_and_shared_memory_have_all_calls_that_they_need() {
    let script = r#"
import asyncio, multiprocessing, socket, subprocess, tempfile, threading
from multiprocessing import shared_memory
import h5py, numpy as np

def square(number):
    return number * number

thread = threading.Thread(target=lambda: np.linalg.svd(np.random.rand(64, 64)))
thread.start()
thread.join()
with multiprocessing.Pool(2) as pool:
    assert pool.map(square, range(4)) == [0, 1, 4, 9]
memory = shared_memory.SharedMemory(create=True, size=1 << 20)
memory.close()
memory.unlink()
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
listening = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listening.getsockname()).close()
asyncio.run(asyncio.to_thread(square, 2))
with tempfile.TemporaryDirectory() as folder, h5py.File(folder + "/x.h5", "w", libver="latest") as file:
    file.create_dataset("x", data=np.arange(1000.0), compression="gzip")
print("computed")
"#;
    let mut bench = RunnerBench::in_containers("").await;
    std::fs::write(bench.spec.input.join("computes.py"), script).unwrap();
    bench.spec.program.command = ["python3", "/sas/in/computes.py"].map(str::to_owned).to_vec();
    let ended = bench.run().await;
    assert_eq!((ended.exit, ended.log.as_str()), (Exit::Code(0), "computed\n"));
}

#[tokio::test]
async fn who_kills_itself_is_told_from_whom_the_engine_was_told_to_kill() {
    check("kill -KILL $$", Exit::Signal(9)).await;
    check("exit 137", Exit::Signal(9)).await;
    let bench = RunnerBench::in_containers("echo up; sleep 60").await;
    let kill = async {
        wait_until(Duration::from_secs(60), "it runs", async || !bench.spec.last_line.text().is_empty()).await.unwrap();
        let killed = Command::new("docker").args(["kill", &bench.containers()[0]]).stdout(Stdio::null()).status();
        assert!(killed.unwrap().success());
    };
    let (ended, ()) = tokio::join!(bench.run(), kill);
    assert_eq!(ended.exit, Exit::KilledFromOutside);
}
