"""Kafleet for agent developers: write an agent as one typed function."""

from kafleet.agents import Agent, Context, Result
from kafleet.errors import Reject, RetryLater, Throttled

__all__ = ["Agent", "Context", "Reject", "Result", "RetryLater", "Throttled"]
