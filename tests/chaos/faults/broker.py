"""What happens to RabbitMQ, its queues and its messages."""

import contextlib
import json
import signal
import time
import urllib.parse

from .kinds import NotNow, of_service

ROOT = urllib.parse.quote("/", safe="")
# Seconds within which a message comes for somebody who is cut off.
GATHER = 10


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
        raise NotNow("there is no queue")
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
def queue_leader_hangs(scene):
    """A queue is there and takes nothing, until somebody makes it anew."""
    names = [name for name in _queues(scene) if name == "sas.completions" or name.startswith("sas.tasks.")]
    if not names:
        raise NotNow("there is no queue of tasks or completions")
    # The process that leads a queue is registered under the virtual host's and the queue's name.
    scene.cluster.rabbitmqctl("eval", f"sys:suspend(whereis('%2F_{scene.random.choice(names)}')).")


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
    try:
        scene.cluster.rabbitmqctl("set_vm_memory_high_watermark", "0.00001")
        scene.lasts(scene.random.uniform(2, 6))
    finally:
        scene.cluster.rabbitmqctl("set_vm_memory_high_watermark", "0.4")


def _copies(scene, queue, count):
    """Messages of a queue, which are put back."""
    ask = {"count": count, "ackmode": "ack_requeue_true", "encoding": "auto"}
    return [message["payload"] for message in scene.cluster.broker("POST", f"queues/{ROOT}/{queue}/get", ask)]


@contextlib.contextmanager
def _gathered(scene, side):
    """Messages for this side, as (queue, body), which wait because it is cut from the broker until the caller is done."""
    proxy = scene.cluster.proxies[side, "rabbitmq"]
    proxy.partition()
    try:
        end = time.monotonic() + GATHER
        found = []
        while not found and time.monotonic() < end:
            time.sleep(0.5)
            names = ["sas.completions"] if side == "coordinator" else _task_queues(scene)
            found = [(name, body) for name in names for body in _copies(scene, name, 20)]
        if not found:
            raise NotNow(f"no message is there for a {side}")
        yield found
    finally:
        proxy.heal()


def _task_queues(scene):
    return [name for name in _queues(scene) if name.startswith("sas.tasks.")]


def _publish(scene, queue, body):
    message = {"properties": {"delivery_mode": 2}, "routing_key": queue, "payload": body, "payload_encoding": "string"}
    scene.cluster.broker("POST", f"exchanges/{ROOT}/amq.default/publish", message)


@of_service("rabbitmq")
def completions_repeated(scene):
    """Completions are said again, in another order, among them those of long ago."""
    with _gathered(scene, "coordinator") as found:
        scene.completions = [*scene.completions, *(body for _, body in found)][-500:]
        for body in scene.random.choices(scene.completions, k=20):
            _publish(scene, "sas.completions", body)


@of_service("rabbitmq")
def tasks_repeated(scene):
    """Task messages are said again, in another order."""
    with _gathered(scene, "worker") as found:
        for name, body in scene.random.choices(found, k=20):
            _publish(scene, name, body)


@of_service("rabbitmq")
def completion_forged(scene):
    """Somebody who never claimed anything says of tasks that they failed, before their messages are taken."""
    with _gathered(scene, "worker") as found:
        for _, body in found:
            try:
                task = json.loads(body)
                del task["name"]
            except (ValueError, KeyError, TypeError):
                # Somebody else's rubbish.
                continue
            forged = {
                **task,
                "nonce": f"{scene.random.getrandbits(128):032x}",
                "worker": "nobody-1",
                "started": "2026-01-01T00:00:00Z",
                "millis": 1,
                "report": "ended",
                "with": {"outcome": "failed", "kind": "exit", "message": "forged", "exit_code": 1, "log_tail": ""},
            }
            _publish(scene, "sas.completions", json.dumps(forged))


@of_service("rabbitmq")
def messages_unreadable(scene):
    """Rubbish in every queue."""
    for name in [*_queues(scene), "sas.events"]:
        if name not in ("sas.dead", "sas.probe"):
            _publish(scene, name, scene.random.choice(["{}", "", "[1", '{"v": 99}', "\0"]))
