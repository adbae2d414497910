"""One fleet's outbox is another's inbox, as examples/chain and docs/chaining.md show it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from demo.broker import Record
from e2e.commands import run, shown
from e2e.fleets import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.broker import Broker
    from demo.cluster import Cluster
    from e2e.topics import Topics

TICKETS = {"alice": "My invoice has two charges", "bob": "The site is down", "carol": "I like your logo"}
ANSWERED = {"alice": "billing", "bob": "outage"}  # the rest is left to people


@pytest.fixture
def chain(cluster: Cluster, broker: Broker) -> Iterator[tuple[Fleet, Fleet]]:
    """Return both fleets of the example, which names its namespace; they go at the end."""
    first, second = (Fleet(cluster, broker, "default", name) for name in ("sorting", "answering"))
    yield first, second
    run(cluster, "kubectl delete --ignore-not-found -k examples/chain")
    for fleet in (first, second):
        fleet.wait_gone()
        mine = {name for name in fleet.own_topics() if name.startswith(f"default.{fleet.name}.")}
        broker.delete(mine, {fleet.group} & broker.groups())


def test_records_flow_through_chained_fleets(
    chain: tuple[Fleet, Fleet], cluster: Cluster, topics: Topics
) -> None:
    first, second = chain
    for commands in shown("docs/chaining.md"):
        run(cluster, commands)

    assert second.status()["inbox"] == first.status()["outbox"]
    claimed = {each["name"]: each["managed"] for each in second.status()["topics"]}
    assert claimed[first.results] is False
    before = topics[first.results]

    first.broker.feed(
        first.tasks,
        [
            Record(key, json.dumps({"text": text}).encode(), {"ce_correlationid": key})
            for key, text in TICKETS.items()
        ],
    )
    second.until("the answers", lambda: len(first.broker.read_all(second.results)) == len(ANSWERED))
    answers = first.broker.read_all(second.results)

    assert {answer.key: json.loads(answer.value)["topic"] for answer in answers} == ANSWERED
    assert all(answer.headers["ce_correlationid"] == answer.key for answer in answers)
    assert {answer.headers["ce_hops"] for answer in answers} == {"2"}

    # The first fleet's topic goes with it, whoever reads it; the reader says so, and never makes it itself.
    first.edit({"deletionPolicy": "Delete"})
    first.wait_ready()  # the policy holds once the operator has seen it
    first.kubectl("delete", "ag", first.name, "--timeout=240s")
    message = second.wait_for_reason("TopicsReady", "ReferenceNotFound")
    assert repr(first.results) in message
    assert first.results not in first.broker.topics()

    run(cluster, "kubectl apply -k examples/chain")
    second.wait_ready()
    assert topics[first.results].partitions == before.partitions
    assert topics[first.results].id != before.id
