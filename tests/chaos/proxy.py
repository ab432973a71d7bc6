"""A proxy before a service, which cuts or holds back what goes through it: a partition of one kind of program from it."""

import selectors
import socket
import threading


class Proxy:
    """Listens on a port of its own on loopback, and passes on to `target`."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cut = False
        self.passes = threading.Event()
        self.passes.set()
        self.lock = threading.Lock()
        self.open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def partition(self):
        """Ends all connections; new ones end at once."""
        self.cut = True
        with self.lock:
            for ends in self.open:
                _close(ends)

    def hold(self):
        """Passes nothing on, and ends nothing."""
        self.passes.clear()

    def heal(self):
        """As if nothing had been."""
        self.cut = False
        self.passes.set()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            if self.cut:
                client.close()
                continue
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client):
        try:
            service = socket.create_connection(("127.0.0.1", self.target), timeout=10)
        except OSError:
            client.close()
            return
        service.settimeout(None)
        for end in (client, service):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ends = (client, service)
        with self.lock:
            self.open.add(ends)
        other = {client: service, service: client}
        with selectors.DefaultSelector() as ready:
            for end in ends:
                ready.register(end, selectors.EVENT_READ)
            try:
                while not self.cut:
                    for key, _ in ready.select(timeout=1):
                        self.passes.wait()
                        data = key.fileobj.recv(65536)
                        if not data:
                            raise OSError("it ended")
                        other[key.fileobj].sendall(data)
            except OSError:
                pass
        with self.lock:
            self.open.discard(ends)
        _close(ends)


def _close(ends):
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
