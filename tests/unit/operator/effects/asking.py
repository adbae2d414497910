"""Nodes that answer what a test says, instead of kafka-python's connections."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TypeAlias

from kafleet_operator.effects.nodes import Nodes
from kafleet_operator.errors import KafkaUnreachable
from kafleet_operator.planning.connections import Connection

# kafka-python's messages, as far as they are used here; every field of it is Any.
Message: TypeAlias = SimpleNamespace


class AskedNodes(Nodes):
    """`asked` notes each request and its node; `silent` nodes do not answer, for the others `answered` does.

    `faults` are error codes by what is asked about.
    """

    def __init__(self) -> None:
        super().__init__(Connection("kafka:9092"), {})
        self.faults: dict[str, int] = {}
        self.silent: set[int | None] = set()
        self.asked: list[tuple[str, int | None]] = []

    async def ask(self, request: Message, node: int | None = None) -> Message:
        name = type(request).__name__
        self.asked.append((name, node))
        if node in self.silent:
            raise KafkaUnreachable("no answer")
        return self.answered(name, request, node)

    def answered(self, name: str, request: Message, node: int | None) -> Message:
        """Answer a request of this type."""
        raise NotImplementedError


def answer(**fields: object) -> Message:
    return SimpleNamespace(**fields)
