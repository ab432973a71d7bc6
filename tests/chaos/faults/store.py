"""What happens to the store's file system."""

import os
import subprocess

from .kinds import Impossible, NotNow, kind

WHY = "the store is on no file system of its own: mounting takes root"


def _mount(*arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Impossible(done.stderr.strip())


@kind
def store_full(scene):
    """The store's file system has no byte left."""
    if scene.disk is None:
        raise Impossible(WHY)
    facts = os.statvfs(scene.disk)
    used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize // 1024 + 64
    _mount("-o", f"remount,size={used}k", scene.disk)
    scene.lasts(scene.random.uniform(2, 8))
    _mount("-o", f"remount,size={scene.size}", scene.disk)


def _mounted_otherwise(scene, otherwise):
    """The store is away, or mounted otherwise, for a while. Whoever has a file open keeps it."""
    if scene.disk is None:
        raise Impossible(WHY)
    if not scene.one_mounts.acquire(blocking=False):
        raise NotNow("the store is mounted otherwise already")
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
