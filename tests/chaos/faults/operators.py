"""What people do meanwhile."""

from ..cluster import wait
from .kinds import NotNow, kind


@kind
def event_repeated(scene):
    """What was delivered is delivered again."""
    if not scene.delivered:
        raise NotNow("nothing is delivered yet")
    scene.cluster.sas("ingest", "--publish", *scene.random.choice(scene.delivered))


def _obeyed(scene, *command):
    code, said = scene.cluster.sas(*command)
    if code:
        raise NotNow(f"sas {' '.join(command)}: {said}")


def _decide(scene, there, back, is_moot=lambda: False):
    _obeyed(scene, *there)
    scene.lasts(scene.random.uniform(2, 8))
    wait(120, f"`sas {' '.join(back)}` is obeyed", lambda: scene.cluster.sas(*back)[0] == 0 or is_moot())


def _newest(scene):
    runs = [run["run"] for run in scene.cluster.runs() if run["phase"] != "ended" and run["pipeline"] == "SAS-PIP"]
    if not runs:
        raise NotNow("no run goes on")
    return runs[0]


@kind
def run_paused(scene):
    """An operator pauses the newest run, and resumes it."""
    run = _newest(scene)

    def is_over():
        return any(one["run"] == run and one["phase"] == "ended" for one in scene.cluster.runs())

    _decide(scene, ("run", "pause", run), ("run", "resume", run), is_over)


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
    _obeyed(scene, "run", "amend", _newest(scene), "--module", module, "--image", image)


@kind
def host_drained(scene):
    """An operator empties a host, and lets it work again."""
    host = f"host-{scene.random.choice((1, 2, 3))}"
    _decide(scene, ("worker", "drain", host), ("worker", "resume", host))
