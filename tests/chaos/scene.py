"""What faults have to do with: the cluster, what was delivered to it, and what struck so far."""

import collections
import os
import random
import subprocess
import threading
import time

from . import faults, oracle

# Seconds for which a fault waits for something to strike.
PATIENCE = 180


class Scene:
    """What faults have to do with."""

    def __init__(self, options, directory):
        self.random = random.Random(options.seed)
        self.directory, self.size = directory, "3g"
        self.store = os.path.join(directory, "store")
        self.disk = self._disk(os.path.join(directory, "disk"))
        self.one_mounts = threading.Lock()
        self.log = os.path.join(directory, "executions.log")
        open(self.log, "w", encoding="utf-8").close()
        self.delivered, self.completions, self.amended = [], [], 1
        self.struck, self.recovery = collections.Counter(), collections.defaultdict(list)
        # Kinds that this machine cannot have, those that have not struck, both with why, and those that wait to strike.
        self.skipped, self.unstruck, self.waiting = {}, {}, set()
        self.wanted = list(options.only.split(",")) if options.only else sorted(faults.KINDS)
        self.unstruck.update(dict.fromkeys(self.wanted, "its turn did not come"))
        # No more faults begin; nobody waits for what comes after them.
        self.over, self.stopping = threading.Event(), threading.Event()
        self.cluster = self.engine = None
        self.modules = []

    def _disk(self, disk):
        """A file system for the store, which can be full, read-only and away; none where that is not allowed."""
        os.makedirs(self.store)
        os.makedirs(disk)
        made = ["mount", "-t", "tmpfs", "-o", f"size={self.size}", "chaos", disk]
        shown = ["mount", "--bind", disk, self.store]
        done = (subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in (made, shown))
        return disk if all(done) else None

    def lasts(self, seconds):
        """The time that a fault lasts."""
        time.sleep(seconds)

    def ended(self):
        """When executions ended well."""
        return [line["at"] for line in oracle.read_log(self.log) if line["what"] == "ends" and line["code"] == 0]

    def strike(self, name):
        """One fault, as soon as there is something to strike, and how long it takes until something is executed again."""
        end = time.monotonic() + PATIENCE
        try:
            while not self._struck(name):
                self.waiting.add(name)
                if name in self.skipped or self.over.wait(0.3) or time.monotonic() > end:
                    return
        finally:
            self.waiting.discard(name)
        self.struck[name] += 1
        self.unstruck.pop(name, None)
        threading.Thread(target=self._recovers, args=(name, time.time()), daemon=True).start()

    def _struck(self, name):
        try:
            self.waiting.discard(name)
            faults.KINDS[name](self)
            return True
        except faults.Impossible as why:
            self.skipped[name] = str(why)
        except faults.NotNow as why:
            self.unstruck[name] = str(why)
        except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
            # What was to be struck is struck already.
            self.unstruck[name] = repr(error)
        return False

    def _recovers(self, name, over):
        while not self.stopping.is_set():
            later = [at for at in self.ended()[-200:] if at > over]
            if later:
                self.recovery[name].append(min(later) - over)
                return
            time.sleep(0.5)

    def strayed(self):
        """What somebody wrote where the store was not mounted."""
        if self.disk is None:
            return []
        subprocess.run(["umount", "-l", self.store], capture_output=True, check=False)
        strayed = os.listdir(self.store)
        subprocess.run(["mount", "--bind", self.disk, self.store], capture_output=True, check=False)
        return strayed

    def clean(self):
        """Unmounts the store."""
        for place in (self.store, self.disk):
            if self.disk:
                subprocess.run(["umount", "-l", place], capture_output=True, check=False)
