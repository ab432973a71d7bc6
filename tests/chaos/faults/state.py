"""What happens to Redis, and to its clock."""

import os
import shutil
import signal

from .kinds import Impossible, NotNow, of_service


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
        raise NotNow("it has written nothing yet")
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


def _stepped(scene, ahead):
    clock = scene.cluster.clock
    if clock is None:
        raise Impossible(scene.cluster.without["clock"])
    clock.set(ahead)
    scene.lasts(scene.random.uniform(2, 8))
    clock.set(0)


@of_service("redis")
def clock_ahead(scene):
    """Its clock steps forward, by seconds or hours, and is set right again."""
    _stepped(scene, scene.random.choice((20, 600, 7200)))


@of_service("redis")
def clock_behind(scene):
    """Its clock steps back, and is set right again."""
    _stepped(scene, -scene.random.choice((20, 600, 7200)))
