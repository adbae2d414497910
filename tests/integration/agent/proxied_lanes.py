"""Lanes of which agents reach the broker through a proxy that can delay, cut and go silent."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from integration.agent.lanes import KafkaLane, Worker

if TYPE_CHECKING:
    from pathlib import Path

    from integration.proxies import ProxiedBroker


class ProxiedLane(KafkaLane):
    """A lane that has agents behind a proxy."""

    def __init__(self, broker: ProxiedBroker, folder: Path) -> None:
        super().__init__(broker.bootstrap_servers, f"lane-{uuid.uuid4().hex[:8]}", folder)
        self.proxy = broker.proxy

    def behind_the_proxy(self, name: str, **delivery: object) -> Worker:
        """Start an agent process that reaches the broker through the proxy only."""
        file = self.lane_file("echo:agent", **delivery) | {"bootstrapServers": self.proxy.address}
        worker = Worker(f"{self.name}-{name}", file, self.folder)
        worker.start()
        self.workers.append(worker)
        return worker
