"""The stars of a campaign, and the pipelines that they go through."""

import argparse
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
DEPLOY = os.path.abspath(os.path.join(HERE, "../../deploy"))
sys.path.insert(0, os.path.join(DEPLOY, "modules"))

from light import contract, pipeline as light_pipeline, stars as light_stars, toml  # noqa: E402

QUARTER = 3
# Of so many modules one is a process of its own each time.
ALONE = 6
IMAGE = "sas/base:bookworm"
BOXED = """name = "BOXED"
version = "1"
trigger = "l1/never"
[externals]
star = ["DP1_LC_MERGED"]
[classes.boxed]
cpus = 0.5
memory = "512MB"
"""
# What runs in a container: the first takes its time, the second more memory than it is given at first.
PROGRAMS = {
    "A": ("DP1_LC_MERGED", "X", "import time; time.sleep(8); "),
    "B": ("X", "Y", "bytearray(120 << 20); "),
    "C": ("Y", "Z", ""),
}


def definitions(scene, kinds, boxed):
    """The real pipeline played by light, and the small one in containers; their paths."""
    scripts = os.path.join(scene.directory, "stars.json")
    with open(scripts, "w", encoding="utf-8") as file:
        json.dump(kinds, file)
    source = os.path.join(DEPLOY, "pipelines/sas-pip.toml")
    target = os.path.join(scene.directory, "light.toml")
    arguments = argparse.Namespace(image=None, mode="oneshot", time_limit="2m", backoff="1s", memory="256MB", cpus=0.5)
    arguments.source, arguments.target = source, target
    definition = light_pipeline.rewrite(contract.read_toml(source), kinds, arguments)
    for number, module in enumerate(definition["modules"].values()):
        # Most serve, so that there is time for many stars; the others are a process each time.
        module["mode"] = "serve" if number % ALONE else "oneshot"
        module["command"] = ["/usr/bin/python3", os.path.join(HERE, "module.py")]
        module["environment"]["CHAOS_LOG"] = scene.log
    definition = light_pipeline.beside(definition, source, target)
    with open(target, "w", encoding="utf-8") as file:
        file.write(toml.dumps(definition))
    scene.modules = list(definition["modules"])
    if not boxed:
        return [target]
    text = BOXED
    for name, (reads, makes, more) in PROGRAMS.items():
        program = f"import h5py, os; {more}o = h5py.File(os.environ['SAS_OUTPUT'], 'w'); o['PRODUCTS/{makes}/n'] = 1.0"
        text += (
            f'[modules.{name}]\nimage = "{IMAGE}"\ncommand = ["python3", "-c", {json.dumps(program)}]\nclass = "boxed"\n'
            f'time_limit = "1m"\nmemory = "64MB"\ninputs.mandatory = ["{reads}"]\noutputs.mandatory = ["{makes}"]\n'
        )
    path = os.path.join(scene.directory, "boxed.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return [target, path]


def make_stars(scene, options):
    """Files of all stars, with their kinds; two of them have modules that fail."""
    each = max(1, options.stars // 4)
    arguments = argparse.Namespace(
        directory=os.path.join(scene.directory, "delivery"),
        quarter=QUARTER,
        stars=f"quiet={each},rotating={each},seismic={each},mixed={each}",
        seed=options.seed % 2**31,
        points=64,
        without=[],
        pipeline=os.path.join(DEPLOY, "pipelines/sas-pip.toml"),
    )
    kinds = light_stars.make(arguments)
    stars = sorted(kinds)
    scene.random.shuffle(stars)
    kinds[stars[0]] = {"like": kinds[stars[0]], "modules": {"MSAP4_02": {"fail": "exit 3"}}}
    kinds[stars[-1]] = {"like": kinds[stars[-1]], "modules": {"MSAP3_01": {"fail": "exit 75", "attempts": 2}}}
    return kinds, stars
