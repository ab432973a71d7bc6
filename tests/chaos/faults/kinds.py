"""Kinds of faults: how they are registered, and what they raise where they cannot strike."""

import functools

KINDS = {}


class Impossible(Exception):
    """It cannot be brought about on this machine; says why."""


class NotNow(Exception):
    """There is nothing to strike at this moment; says what is missing."""


def kind(function):
    """Registers a kind by its name."""
    KINDS[function.__name__] = function
    return function


def of_service(name):
    """A kind that strikes a service, which nobody else strikes meanwhile."""

    def registered(function):
        @functools.wraps(function)
        def alone(scene):
            service = getattr(scene.cluster, name)
            if service is None:
                raise Impossible(scene.cluster.without[name])
            if not service.struck.acquire(blocking=False):
                raise NotNow(f"{name} is struck already")
            try:
                function(scene)
            finally:
                service.struck.release()

        return kind(alone)

    return registered
