"""What happens to the campaign's own Docker engine, and to containers."""

import signal
import subprocess

from .kinds import Impossible, NotNow, kind, of_service


@of_service("engine")
def engine_restarted(scene):
    """SIGTERM: it stops what runs in it; then it is started again."""
    scene.cluster.engine.end()
    scene.cluster.engine.start()


@of_service("engine")
def engine_killed(scene):
    """SIGKILL; containers go on until it is started again."""
    scene.cluster.engine.kill()
    scene.lasts(scene.random.uniform(0, 3))
    scene.cluster.engine.start()


@of_service("engine")
def engine_frozen(scene):
    """Stands still for some seconds; containers go on."""
    scene.cluster.engine.signal(signal.SIGSTOP)
    scene.lasts(scene.random.uniform(2, 10))
    scene.cluster.engine.signal(signal.SIGCONT)


@kind
def container_killed(scene):
    """A container of a module."""
    if not scene.cluster.boxed:
        raise Impossible(scene.cluster.without["containers"])
    listed = subprocess.run(
        ["docker", "ps", "--quiet", "--filter", f"label=sas.store={scene.cluster.store}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    ).stdout.split()
    if not listed:
        raise NotNow("no container runs")
    victim = scene.random.choice(listed)
    if subprocess.run(["docker", "kill", victim], capture_output=True, check=False, timeout=20).returncode:
        raise NotNow("the container was over")
