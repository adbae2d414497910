"""A process waits for the member that its pod had before, briefly, and never for anybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException
from unit.agent.fleets import SILENT

from kafleet.predecessors import LONGEST_WAIT_SECONDS, Footprint, await_departure

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


class Group:
    """A group whose members are seen one look after the other; the last look repeats."""

    def __init__(self, *looks: Collection[str] | KafkaException) -> None:
        self.looks = looks
        self.count = 0
        self.seconds = 0.0

    def client_ids(self) -> Collection[str]:
        found = self.looks[min(self.count, len(self.looks) - 1)]
        self.count += 1
        if isinstance(found, KafkaException):
            raise found
        return found

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def await_departure(self) -> None:
        await_departure("pod-1", self.client_ids, logger=SILENT, clock=lambda: self.seconds, sleep=self.sleep)


@pytest.mark.parametrize(
    ("group", "looks"),
    [
        (Group([]), 1),
        (Group(["pod-2", "pod-10"]), 1),
        (Group(["pod-1"], ["pod-1", "pod-2"], ["pod-2"]), 3),
        (Group(KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))), 1),
    ],
)
def test_it_looks_until_its_predecessor_is_gone(group: Group, looks: int) -> None:
    group.await_departure()

    assert group.count == looks


def test_it_joins_in_the_end_though_nobody_takes_its_predecessor_out() -> None:
    group = Group(["pod-1"])
    group.await_departure()

    assert LONGEST_WAIT_SECONDS <= group.seconds < LONGEST_WAIT_SECONDS + 0.1


def test_a_footprint_is_there_for_the_same_group_and_pod_until_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead, successor = (
        Footprint("support.triage.workers", "pod/1"),
        Footprint("support.triage.workers", "pod/1"),
    )
    other = Footprint("support.triage", "pod")
    assert not successor.is_there()

    dead.leave()

    assert successor.is_there()
    assert not other.is_there()
    successor.leave()
    successor.remove()
    assert not successor.is_there()
    successor.remove()


def test_a_footprint_that_cannot_be_left_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    footprint = Footprint("support.triage", "pod-1")

    footprint.leave()

    assert not footprint.is_there()
