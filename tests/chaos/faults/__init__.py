"""What goes wrong in a campaign: each kind is a function of the campaign's `Scene` that begins it, waits for as long as it lasts
and makes it good again. What cannot be brought about on this machine raises `Impossible`, what cannot strike yet `NotNow`."""

from . import broker, engine, network, operators, programs, state, store  # noqa: F401
from .kinds import KINDS, Impossible, NotNow  # noqa: F401
