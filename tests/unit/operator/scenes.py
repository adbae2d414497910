"""The whole operator between two servers in memory, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs
from unit.operator.fakes import FakeApi, FakeKafka
from virtual import run

from kafleet_operator.reconciling import Reconciler
from kafleet_operator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kafleet_operator.planning.connections import Connection
    from kafleet_operator.planning.references import Seen

SETTINGS = Settings(
    bootstrap_servers="kafka:9092", agent_image="agent:1", observe_seconds=5, resync_seconds=300
)


class Scene:
    """A reconciler between its two servers."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.kafka = FakeKafka()
        api: Any = self.api

        async def connect(_connection: Connection, _seen: Seen) -> Any:  # noqa: ANN401 - it stands for a Kafka
            return self.kafka

        self.reconciler = Reconciler(SETTINGS, api, connect)
        self.api.watch = self.reconciler.saw


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    """Run a story in virtual time, and let go of everything after it."""

    async def perform() -> None:
        scene = Scene()
        await story(scene)
        await scene.reconciler.stop()

    with capture_logs():
        run(perform())
