"""The cluster of a campaign: RabbitMQ and Redis in a directory of their own, proxies before them, and our programs as processes,
which are started again when they end."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request

from .clock import Clock
from .proxy import Proxy

HERE = os.path.dirname(os.path.abspath(__file__))
SERVICES = os.path.join(HERE, "../../deploy/services.sh")
# Who has proxies of its own before each service.
SIDES = ("coordinator", "worker")
LEASE = 6
# Seconds after which a program has what it always has.
WARM = 10


def free_ports():
    """The first of six ports in a row that nobody has."""
    for base in range(20000 + os.getpid() % 20000, 60000, 17):
        try:
            for port in range(base, base + 6):
                socket.create_server(("127.0.0.1", port)).close()
            return base
        except OSError:
            continue
    raise SystemExit("chaos: no free ports")


class Service:
    """RabbitMQ or Redis."""

    def __init__(self, kind, directory, port, environment=None):
        self.kind, self.directory, self.port = kind, directory, port
        self.environment = {**os.environ, **(environment or {})}
        # Held by whoever strikes it.
        self.struck = threading.Lock()

    def start(self):
        """Starts it on what it has; a busy machine may need more than one try."""
        more = ["management"] if self.kind == "rabbitmq" else []
        command = [SERVICES, self.kind, self.directory, str(self.port), *more]
        for last in (False, False, True):
            done = subprocess.run(command, check=last, capture_output=not last, env=self.environment)
            if done.returncode == 0:
                return
            self.end("kill")

    def end(self, how):
        """Ends it: `stop` or `kill`."""
        subprocess.run([SERVICES, how, self.directory], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wipe(self):
        """Removes its data."""
        for name in ("data", "appendonlydir", "appendonly.aof", "dump.rdb"):
            path = os.path.join(self.directory, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.path.exists(path) and os.remove(path)

    def signal(self, number):
        """Sends a signal to its process group."""
        with open(os.path.join(self.directory, "pid"), encoding="utf-8") as file:
            os.killpg(int(file.read()), number)


class Program:
    """A coordinator or worker that is started again when it ends."""

    def __init__(self, cluster, name, binary, settings):
        self.cluster, self.name, self.binary, self.settings = cluster, name, binary, settings
        self.process, self.frozen, self.began, self.most_memory, self.first_memory = None, False, 0, 0, 0

    def tend(self):
        """Starts it where it does not run; looks at its memory."""
        if self.process is None or self.process.poll() is not None:
            side = "worker" if "worker" in self.binary else "coordinator"
            with open(os.path.join(self.cluster.directory, f"{self.name}.log"), "ab") as log:
                self.process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", "--", os.path.join(self.cluster.bin, self.binary)],
                    env={**os.environ, **self.cluster.environment(side), **self.settings},
                    stdout=log,
                    stderr=log,
                )
            self.began = time.monotonic()
        memory = self.memory()
        self.most_memory = max(self.most_memory, memory)
        if not self.first_memory and time.monotonic() - self.began > WARM:
            self.first_memory = memory

    def memory(self):
        """Resident memory, in MB."""
        try:
            with open(f"/proc/{self.process.pid}/statm", encoding="utf-8") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        except (OSError, IndexError, AttributeError):
            return 0

    def signal(self, number):
        """Sends a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def children(self):
        """Process ids of its children, with their command lines."""
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
                with open(f"/proc/{entry}/cmdline", encoding="utf-8") as file:
                    line = file.read().replace("\0", " ")
            except (OSError, ValueError, IndexError):
                continue
            if parent == self.process.pid:
                found.append((int(entry), line))
        return found

    def end(self):
        """Ends it in order."""
        if self.process is None or self.process.poll() is not None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Cluster:
    """All of it."""

    def __init__(self, directory, binaries, store, pipelines):
        self.directory, self.bin, self.store = directory, binaries, store
        base = free_ports()
        # What this machine cannot do, and why; whether modules run in containers.
        self.without, self.boxed, self.engine = {}, False, None
        try:
            self.clock = Clock(directory)
        except OSError as error:
            self.clock, self.without["clock"] = None, str(error)
        self.rabbitmq = Service("rabbitmq", os.path.join(directory, "rabbitmq"), base)
        stepped = self.clock.environment if self.clock else {}
        self.redis = Service("redis", os.path.join(directory, "redis"), base + 4, stepped)
        self.management = base + 3
        self.proxies = {
            (side, service.kind): Proxy(service.port) for side in SIDES for service in (self.rabbitmq, self.redis)
        }
        self.config = os.path.join(directory, "sas.toml")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"[coordinator]\npipelines = {json.dumps(pipelines)}\ncompare = '5s'\n[http]\nlisten = ''\n")
        self.programs = []

    def environment(self, side=None):
        """What programs of this side are told; without a side, past the proxies."""
        rabbitmq = self.proxies[side, "rabbitmq"].port if side else self.rabbitmq.port
        redis = self.proxies[side, "redis"].port if side else self.redis.port
        return {
            "SAS_CONFIG": self.config,
            "SAS_STORE_ROOT": self.store,
            "SAS_QUEUE_URL": f"amqp://guest:guest@127.0.0.1:{rabbitmq}/%2f",
            "SAS_QUEUE_SILENT_FOR": "40s",
            "SAS_STATE_URL": f"redis://127.0.0.1:{redis}/0",
            "SAS_WORKER_RUNNER": "process",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def start(self):
        """Starts everything: two coordinators, three workers, with containers a fourth that runs these."""
        self.rabbitmq.start()
        self.redis.start()
        self.sas("init", check=True)
        self.programs = [Program(self, f"coordinator-{number}", "sas-coordinator", {}) for number in (1, 2)]
        common = {
            "SAS_WORKER_LEASE": f"{LEASE}s",
            "SAS_WORKER_SWEEP": "2s",
            "SAS_WORKER_GRACE": "5s",
            "SAS_WORKER_INPUT_PATIENCE": "5s",
            "SAS_WORKER_FREE": "8MiB",
        }
        classes = {f"SAS_SLOTS_{name}": "1" for name in ("DEFAULT", "SMALL", "LARGE", "HEAVY")}
        for number in (1, 2, 3):
            settings = {**common, **classes, "SAS_WORKER_HOST": f"host-{number}"}
            self.programs.append(Program(self, f"worker-{number}", "sas-worker", settings))
        if self.boxed:
            settings = {**common, "SAS_SLOTS_DEFAULT": "0", "SAS_SLOTS_BOXED": "2", "SAS_WORKER_HOST": "host-4"}
            settings["SAS_WORKER_RUNNER"] = "docker"
            self.programs.append(Program(self, "worker-4", "sas-worker", settings))
        self.tend()

    def tend(self):
        """Starts again what ended."""
        for program in self.programs:
            if not program.frozen:
                program.tend()

    def of(self, side):
        """Programs of a side that are not frozen."""
        return [program for program in self.programs if program.name.startswith(side) and not program.frozen]

    def sas(self, *arguments, check=False, timeout=60):
        """Runs `sas` to its end; its code and what it said."""
        done = subprocess.run(
            [os.path.join(self.bin, "sas"), *arguments],
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise SystemExit(f"chaos: sas {' '.join(arguments)}: {done.stderr}")
        return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def runs(self):
        """What `sas run list --all` says; nothing where it says nothing."""
        code, said = self.sas("-o", "json", "run", "list", "--all")
        if code:
            return []
        runs = json.loads(said)
        return runs if isinstance(runs, list) else runs["runs"]

    def rabbitmqctl(self, *arguments):
        """Says something to RabbitMQ as its administrator."""
        program = shutil.which("rabbitmqctl", path="/usr/lib/rabbitmq/bin:" + os.environ["PATH"])
        environment = {**os.environ, "HOME": self.rabbitmq.directory, "ERL_EPMD_PORT": str(self.rabbitmq.port + 2)}
        command = [program, "-n", f"sas-{self.rabbitmq.port}@localhost", *arguments]
        subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)

    def redis_cli(self, *arguments):
        """Asks Redis, past the proxies."""
        command = ["redis-cli", "-p", str(self.redis.port), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout

    def broker(self, method, path, body=None):
        """Asks RabbitMQ's management API."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.management}/api/{path}", method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data=data, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def end(self):
        """Ends everything."""
        for proxy in self.proxies.values():
            proxy.heal()
        for program in sorted(self.programs, key=lambda program: program.name, reverse=True):
            program.end()
        for service in (self.rabbitmq, self.redis):
            service.end("stop")


def wait(seconds, what, condition):
    """Waits until a condition holds; returns whether it did in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            print(f"waited {seconds} s in vain until {what}", flush=True)
            return False
        time.sleep(0.2)
    return True
