"""Testing agents: the whole engine on a log in memory, in virtual time, with faults on request."""

from kafleet.testing.fleets import NotIdle, TestFleet
from kafleet.testing.written import WrittenRecord

__all__ = ["NotIdle", "TestFleet", "WrittenRecord"]
