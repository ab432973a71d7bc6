"""What happens to coordinators and workers."""

import os
import signal

from ..cluster import LEASE
from .kinds import NotNow, kind


def _program(scene, side):
    programs = [program for program in scene.cluster.of(side) if program.process and program.process.poll() is None]
    if not programs:
        raise NotNow(f"no {side} runs")
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
        raise NotNow(f"{program.name} has no child `{what}`")
    os.kill(scene.random.choice(children), signal.SIGKILL)


@kind
def agent_killed(scene):
    """A store agent of a worker."""
    _child(scene, "agent")
