"""A Docker engine of the campaign's own, with its own socket, data and containerd: it is struck, and nobody else's is."""

import json
import os
import shutil
import signal
import subprocess
import threading

from .cluster import wait


class Engine:
    """A dockerd, and the containerd that it starts; raises OSError where none can be started."""

    def __init__(self, directory, images):
        if os.getuid() or not shutil.which("dockerd"):
            raise OSError("an engine of its own takes root and dockerd")
        self.directory, self.images = directory, images
        self.address = f"unix://{directory}/socket"
        self.process = None
        # Held by whoever strikes it.
        self.struck = threading.Lock()
        os.makedirs(directory)
        with open(os.path.join(directory, "daemon.json"), "w", encoding="utf-8") as file:
            json.dump({"log-driver": "json-file"}, file)
        try:
            self.start()
            self._take_images()
        except OSError:
            self.remove()
            raise

    def start(self):
        """Starts it on what it has, and waits until it answers; thrice, for after a kill it may wait for its containerd in vain."""
        for is_last in (False, False, True):
            try:
                return self._start()
            except OSError:
                if is_last:
                    raise

    def _start(self):
        at = self.directory
        storage = "fuse-overlayfs" if shutil.which("fuse-overlayfs") and os.path.exists("/dev/fuse") else "vfs"
        # In a network of its own: without a bridge it would remove that of this machine's engine.
        command = ["unshare", "--net", "dockerd", "--config-file", f"{at}/daemon.json", "--host", self.address, "--pidfile", f"{at}/pid"]
        command += ["--data-root", f"{at}/data", "--exec-root", f"{at}/run", "--storage-driver", storage]
        command += ["--bridge", "none", "--iptables=false", "--ip-masq=false"]
        with open(f"{at}/log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        if not wait(60, "the engine answers", self._answers):
            raise OSError(f"dockerd does not answer; its log ends with {self._last_words()}")

    def _answers(self):
        if self.process.poll() is not None:
            raise OSError(f"dockerd ended: {self._last_words()}")
        try:
            return self._docker("version", timeout=10).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def _docker(self, *arguments, **options):
        return subprocess.run(["docker", "--host", self.address, *arguments], capture_output=True, check=False, **options)

    def _last_words(self):
        with open(os.path.join(self.directory, "log"), encoding="utf-8", errors="replace") as file:
            return (file.read().splitlines() or [""])[-1]

    def _take_images(self):
        """Takes images over from this machine's engine."""
        with subprocess.Popen(["docker", "save", *self.images], stdout=subprocess.PIPE) as saved:
            if self._docker("load", stdin=saved.stdout).returncode or saved.wait():
                raise OSError(f"the engine does not take {' '.join(self.images)}")

    def signal(self, number):
        """Sends a signal to dockerd alone."""
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL; containerd and containers go on."""
        self.process.kill()
        self.process.wait()

    def end(self):
        """Ends it with its containers."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def remove(self):
        """Ends it, and removes all that it has."""
        if self.process is not None:
            self.end()
        try:
            # It lives on where dockerd was killed.
            with open(os.path.join(self.directory, "run/containerd/containerd.pid"), encoding="utf-8") as file:
                os.kill(int(file.read()), signal.SIGTERM)
        except (OSError, ValueError):
            pass
        with open("/proc/mounts", encoding="utf-8") as file:
            mounted = [line.split()[1] for line in file]
        for place in sorted((place for place in mounted if place.startswith(self.directory)), reverse=True):
            subprocess.run(["umount", "-l", place], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def find_engine(directory, image):
    """An engine of one's own that has an image, which DOCKER_HOST names from then on, and what is not to be had with the reason: of
    `containers` and `engine`. Where there can be none this machine's serves, and is not struck."""
    if image is None:
        return None, dict.fromkeys(("containers", "engine"), "nobody asked for containers")
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode:
        return None, dict.fromkeys(("containers", "engine"), f"this machine's Docker has no image {image}")
    try:
        own = Engine(directory, [image])
    except OSError as error:
        return None, {"engine": str(error)}
    os.environ["DOCKER_HOST"] = own.address
    return own, {}
