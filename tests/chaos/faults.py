"""What goes wrong in a campaign: each kind is a function of the campaign's `Scene` that begins it, waits for as long as it lasts
and makes it good again. What cannot be brought about on this machine raises `Impossible`."""

import functools
import json
import os
import shutil
import signal
import subprocess
import urllib.parse

from .cluster import LEASE, wait

KINDS = {}
ROOT = urllib.parse.quote("/", safe="")


class Impossible(Exception):
    """There is nothing to strike at this moment, or no right to."""


def kind(function):
    """Registers a kind by its name."""
    KINDS[function.__name__] = function
    return function


def of_service(name):
    """A kind that strikes a service, which nobody else strikes meanwhile."""

    def registered(function):
        @functools.wraps(function)
        def alone(scene):
            struck = getattr(scene.cluster, name).struck
            if not struck.acquire(timeout=30):
                raise Impossible
            try:
                function(scene)
            finally:
                struck.release()

        return kind(alone)

    return registered


def _program(scene, side):
    programs = [program for program in scene.cluster.of(side) if program.process and program.process.poll() is None]
    if not programs:
        raise Impossible
    return scene.random.choice(programs)


def _freeze(scene, side, seconds):
    program = _program(scene, side)
    program.frozen = True
    program.signal(signal.SIGSTOP)
    scene.lasts(seconds)
    program.signal(signal.SIGCONT)
    program.frozen = False


@kind
def coordinator_killed(scene):
    """SIGKILL."""
    _program(scene, "coordinator").process.kill()


@kind
def coordinator_ended(scene):
    """SIGTERM."""
    _program(scene, "coordinator").signal(signal.SIGTERM)


@kind
def coordinator_frozen(scene):
    """Stands still for some seconds."""
    _freeze(scene, "coordinator", scene.random.uniform(2, 10))


@kind
def coordinators_all_killed(scene):
    """None is left for a moment."""
    for program in scene.cluster.of("coordinator"):
        program.process.kill()


@kind
def worker_killed(scene):
    """SIGKILL."""
    _program(scene, "worker").process.kill()


@kind
def worker_ended(scene):
    """SIGTERM: it finishes, or gives back."""
    _program(scene, "worker").signal(signal.SIGTERM)


@kind
def worker_frozen(scene):
    """Stands still for longer than its leases live."""
    _freeze(scene, "worker", LEASE * scene.random.uniform(1.2, 2))


def _child(scene, what):
    program = _program(scene, "worker")
    children = [process for process, line in program.children() if what in line]
    if not children:
        raise Impossible
    os.kill(scene.random.choice(children), signal.SIGKILL)


@kind
def agent_killed(scene):
    """A store agent of a worker."""
    _child(scene, "agent")


@kind
def container_killed(scene):
    """A container of a module."""
    listed = subprocess.run(
        ["docker", "ps", "--quiet", "--filter", f"label=sas.store={scene.cluster.store}"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    if not listed:
        raise Impossible
    subprocess.run(["docker", "kill", scene.random.choice(listed)], capture_output=True, check=False)


@of_service("rabbitmq")
def rabbitmq_killed(scene):
    """SIGKILL; it comes back with what it has on disk."""
    # Registrations of queues are written to disk seconds later: no system at work has such young ones.
    scene.cluster.rabbitmq.end("kill")
    scene.lasts(scene.random.uniform(0, 3))
    scene.cluster.rabbitmq.start()


@of_service("rabbitmq")
def rabbitmq_wiped(scene):
    """It comes back empty: no queue, no message."""
    scene.cluster.rabbitmq.end("kill")
    scene.cluster.rabbitmq.wipe()
    scene.cluster.rabbitmq.start()


@of_service("rabbitmq")
def rabbitmq_frozen(scene):
    """Stands still for some seconds."""
    scene.cluster.rabbitmq.signal(signal.SIGSTOP)
    scene.lasts(scene.random.uniform(2, 8))
    scene.cluster.rabbitmq.signal(signal.SIGCONT)


def _queues(scene):
    names = [queue["name"] for queue in scene.cluster.broker("GET", f"queues/{ROOT}")]
    names = [name for name in names if name != "sas.events"]
    if not names:
        raise Impossible
    return names


@of_service("rabbitmq")
def queue_purged(scene):
    """All messages of a queue are gone."""
    name = scene.random.choice(_queues(scene))
    scene.cluster.broker("DELETE", f"queues/{ROOT}/{name}/contents")


@of_service("rabbitmq")
def completions_purged(scene):
    """What workers reported, and nobody read."""
    scene.cluster.broker("DELETE", f"queues/{ROOT}/sas.completions/contents")


@of_service("rabbitmq")
def queue_deleted(scene):
    """A queue is gone with its messages."""
    name = scene.random.choice(_queues(scene))
    scene.cluster.broker("DELETE", f"queues/{ROOT}/{name}")


@of_service("rabbitmq")
def connections_closed(scene):
    """The broker ends all connections."""
    for connection in scene.cluster.broker("GET", "connections"):
        try:
            scene.cluster.broker("DELETE", "connections/" + urllib.parse.quote(connection["name"], safe=""))
        except OSError:
            pass


@of_service("rabbitmq")
def rabbitmq_alarm(scene):
    """The broker has no memory to spare, and takes no message."""
    control = "/usr/lib/rabbitmq/bin/rabbitmqctl"
    base = [control, "-n", f"sas-{scene.cluster.rabbitmq.port}@localhost", "set_vm_memory_high_watermark"]
    environment = {
        **os.environ,
        "HOME": scene.cluster.rabbitmq.directory,
        "ERL_EPMD_PORT": str(scene.cluster.rabbitmq.port + 2),
    }
    for mark in ("0.00001", "0.4"):
        done = subprocess.run([*base, mark], env=environment, capture_output=True, check=False, timeout=60)
        if done.returncode and mark != "0.4":
            raise Impossible
        scene.lasts(scene.random.uniform(2, 6) if mark != "0.4" else 0)


def _copies(scene, queue, count):
    """Messages of a queue, which are put back in another order."""
    ask = {"count": count, "ackmode": "ack_requeue_true", "encoding": "auto"}
    return [message["payload"] for message in scene.cluster.broker("POST", f"queues/{ROOT}/{queue}/get", ask)]


def _publish(scene, queue, body):
    message = {"properties": {"delivery_mode": 2}, "routing_key": queue, "payload": body, "payload_encoding": "string"}
    scene.cluster.broker("POST", f"exchanges/{ROOT}/amq.default/publish", message)


@of_service("rabbitmq")
def completions_repeated(scene):
    """Completions are said again, in another order, among them those of long ago."""
    scene.completions += _copies(scene, "sas.completions", 50)
    scene.completions = scene.completions[-500:]
    if not scene.completions:
        raise Impossible
    for body in scene.random.choices(scene.completions, k=20):
        _publish(scene, "sas.completions", body)


@of_service("rabbitmq")
def tasks_repeated(scene):
    """Task messages are said again, in another order."""
    names = [name for name in _queues(scene) if name.startswith("sas.tasks.")]
    bodies = [body for name in names for body in _copies(scene, name, 20)]
    if not bodies:
        raise Impossible
    for name in names:
        for body in scene.random.choices(bodies, k=5):
            _publish(scene, name, body)


@of_service("rabbitmq")
def completion_forged(scene):
    """Somebody who never claimed anything says of tasks that they failed."""
    names = [name for name in _queues(scene) if name.startswith("sas.tasks.")]
    bodies = [json.loads(body) for name in names for body in _copies(scene, name, 10)]
    if not bodies:
        raise Impossible
    failure = {"kind": "exit", "message": "forged", "exit_code": 1, "log_tail": ""}
    for body in bodies:
        body.pop("name")
        forged = {
            **body,
            "nonce": f"{scene.random.getrandbits(128):032x}",
            "worker": "nobody-1",
            "started": "2026-01-01T00:00:00Z",
            "millis": 1,
            "report": "ended",
            "with": {"outcome": "failed", **failure},
        }
        _publish(scene, "sas.completions", json.dumps(forged))


@of_service("rabbitmq")
def messages_unreadable(scene):
    """Rubbish in every queue."""
    for name in [*_queues(scene), "sas.events"]:
        if name not in ("sas.dead", "sas.probe"):
            _publish(scene, name, scene.random.choice(["{}", "", "[1", '{"v": 99}', "\0"]))


@kind
def event_repeated(scene):
    """What was delivered is delivered again."""
    if not scene.delivered:
        raise Impossible
    scene.cluster.sas("ingest", "--publish", *scene.random.choice(scene.delivered))


@of_service("redis")
def redis_killed(scene):
    """SIGKILL; it comes back with its append-only file."""
    scene.cluster.redis.end("kill")
    scene.lasts(scene.random.uniform(0, 3))
    scene.cluster.redis.start()


@of_service("redis")
def redis_flushed(scene):
    """FLUSHALL."""
    scene.cluster.redis_cli("flushall")


@of_service("redis")
def redis_rolled_back(scene):
    """It comes back with what it had some seconds ago."""
    held = os.path.join(scene.cluster.redis.directory, "appendonly.aof")
    if not os.path.exists(held):
        held = os.path.join(scene.cluster.redis.directory, "appendonlydir")
    if not os.path.exists(held):
        raise Impossible
    copy = os.path.join(scene.cluster.directory, "before")
    copied = shutil.copytree if os.path.isdir(held) else shutil.copy2
    copied(held, copy)
    scene.lasts(scene.random.uniform(2, 6))
    scene.cluster.redis.end("kill")
    scene.cluster.redis.wipe()
    shutil.move(copy, held)
    scene.cluster.redis.start()


@of_service("redis")
def redis_frozen(scene):
    """Stands still for some seconds."""
    scene.cluster.redis.signal(signal.SIGSTOP)
    scene.lasts(scene.random.uniform(2, 8))
    scene.cluster.redis.signal(signal.SIGCONT)


@of_service("redis")
def redis_full(scene):
    """It has no memory to spare, and refuses what writes."""
    scene.cluster.redis_cli("config", "set", "maxmemory", "1")
    scene.lasts(scene.random.uniform(2, 6))
    scene.cluster.redis_cli("config", "set", "maxmemory", "0")


def _partition(scene, side, service, hold=False):
    proxy = scene.cluster.proxies[side, service]
    (proxy.hold if hold else proxy.partition)()
    scene.lasts(scene.random.uniform(2, LEASE * 1.5))
    proxy.heal()


@kind
def workers_cut_from_redis(scene):
    """All connections of workers to Redis end, and no new one is made."""
    _partition(scene, "worker", "redis")


@kind
def coordinators_cut_from_redis(scene):
    """The same of coordinators."""
    _partition(scene, "coordinator", "redis")


@kind
def workers_cut_from_rabbitmq(scene):
    """The same of workers and RabbitMQ."""
    _partition(scene, "worker", "rabbitmq")


@kind
def coordinators_cut_from_rabbitmq(scene):
    """The same of coordinators and RabbitMQ."""
    _partition(scene, "coordinator", "rabbitmq")


@kind
def worker_network_silent(scene):
    """Nothing passes between workers and Redis, and no connection ends."""
    _partition(scene, "worker", "redis", hold=True)


@kind
def coordinator_network_silent(scene):
    """Nothing passes between coordinators and RabbitMQ, and no connection ends."""
    _partition(scene, "coordinator", "rabbitmq", hold=True)


def _mount(*arguments):
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
        raise Impossible


@kind
def store_full(scene):
    """The store's file system has no byte left."""
    if scene.disk is None:
        raise Impossible
    facts = os.statvfs(scene.disk)
    used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize // 1024 + 64
    _mount("-o", f"remount,size={used}k", scene.disk)
    scene.lasts(scene.random.uniform(2, 8))
    _mount("-o", f"remount,size={scene.size}", scene.disk)


def _mounted_otherwise(scene, otherwise):
    """The store is away, or mounted otherwise, for a while. Whoever has a file open keeps it."""
    if scene.disk is None or not scene.one_mounts.acquire(blocking=False):
        raise Impossible
    try:
        store = scene.cluster.store
        subprocess.run(["umount", "-l", store], capture_output=True, check=False)
        try:
            otherwise(store)
            scene.lasts(scene.random.uniform(2, 8))
        finally:
            subprocess.run(["umount", "-l", store], capture_output=True, check=False)
            _mount("--bind", scene.disk, store)
    finally:
        scene.one_mounts.release()


@kind
def store_read_only(scene):
    """The store takes no write."""

    def read_only(store):
        _mount("--bind", scene.disk, store)
        _mount("-o", "remount,bind,ro", store)

    _mounted_otherwise(scene, read_only)


@kind
def store_away(scene):
    """The store is unmounted: its directory is empty."""
    _mounted_otherwise(scene, lambda store: None)


def _decide(scene, there, back):
    code, _ = scene.cluster.sas(*there)
    if code:
        raise Impossible
    scene.lasts(scene.random.uniform(2, 8))
    wait(60, f"`sas {' '.join(back)}` is obeyed", lambda: scene.cluster.sas(*back)[0] in (0, 3))


@kind
def run_paused(scene):
    """An operator pauses the newest run, and resumes it."""
    _decide(scene, ("run", "pause", "newest"), ("run", "resume", "newest"))


@kind
def module_held(scene):
    """An operator holds a module in all runs, and releases it."""
    module = scene.random.choice(scene.modules)
    _decide(scene, ("module", "hold", "SAS-PIP", module), ("module", "release", "SAS-PIP", module))


@kind
def run_amended(scene):
    """An operator gives modules of the newest run another image; it holds the same program."""
    scene.amended += 1
    module, image = scene.random.choice(scene.modules), f"sas/light:{scene.amended}"
    if scene.cluster.sas("run", "amend", "newest", "--module", module, "--image", image)[0]:
        raise Impossible


@kind
def host_drained(scene):
    """An operator empties a host, and lets it work again."""
    host = f"host-{scene.random.choice((1, 2, 3))}"
    _decide(scene, ("worker", "drain", host), ("worker", "resume", host))
