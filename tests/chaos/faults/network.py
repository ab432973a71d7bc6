"""What happens to the network between programs and services."""

from ..cluster import LEASE
from .kinds import kind


def _partition(scene, side, service, hold=False):
    proxy = scene.cluster.proxies[side, service]
    (proxy.hold if hold else proxy.partition)()
    scene.lasts(scene.random.uniform(2, LEASE * 1.5))
    proxy.heal()


@kind
def workers_cut_from_redis(scene):
    """All connections of workers to Redis end, and no new one is made."""
    _partition(scene, "worker", "redis")


@kind
def coordinators_cut_from_redis(scene):
    """The same of coordinators."""
    _partition(scene, "coordinator", "redis")


@kind
def workers_cut_from_rabbitmq(scene):
    """The same of workers and RabbitMQ."""
    _partition(scene, "worker", "rabbitmq")


@kind
def coordinators_cut_from_rabbitmq(scene):
    """The same of coordinators and RabbitMQ."""
    _partition(scene, "coordinator", "rabbitmq")


@kind
def worker_network_silent(scene):
    """Nothing passes between workers and Redis, and no connection ends."""
    _partition(scene, "worker", "redis", hold=True)


@kind
def coordinator_network_silent(scene):
    """Nothing passes between coordinators and RabbitMQ, and no connection ends."""
    _partition(scene, "coordinator", "rabbitmq", hold=True)
