from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from integration.agent.lanes import KafkaLane

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lane(bootstrap_servers: str, tmp_path: Path) -> Iterator[KafkaLane]:
    """Make a lane with topics of its own; its agents end with the test."""
    lane = KafkaLane(bootstrap_servers, f"lane-{uuid.uuid4().hex[:8]}", tmp_path)
    lane.create()
    try:
        yield lane
    finally:
        lane.kill()
