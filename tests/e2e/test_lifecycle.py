"""A fleet's life through kubectl: applied, looked at, edited, suspended, deleted, applied again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from demo.errors import Failed
from e2e.fleets import AGENT, KEYS, MAX_ABOVE_POSITION, NAME, REJECTED

if TYPE_CHECKING:
    from e2e.fleets import Fleet


def test_an_applied_group_gets_ready_and_answers_every_task(fleet: Fleet) -> None:
    fleet.apply()
    fleet.wait_ready()
    fleet.send(25)
    fleet.wait_done()

    verdict = fleet.verdict()

    assert verdict.problems == ()
    assert verdict.repeated == 0
    assert verdict.dead == len(REJECTED) * len(KEYS)
    fleet.until("the lag in the status", lambda: fleet.status().get("lag") == 0)
    fleet.until("the dead letters in the status", lambda: fleet.status().get("deadLetters") == verdict.dead)


def test_kubectl_shows_a_group_as_its_users_need_it(fleet: Fleet) -> None:
    fleet.apply()
    fleet.wait_ready()

    narrow = fleet.kubectl("get", "ag").splitlines()
    wide = fleet.kubectl("get", "kafleet", "-o", "wide").splitlines()
    described = fleet.kubectl("describe", f"agentgroup/{NAME}")
    explained = fleet.kubectl("explain", "ag.spec.delivery.taskTimeout")

    assert narrow[0].split() == ["NAME", "DESIRED", "AGENTS", "LAG", "READY", "REASON", "AGE"]
    assert narrow[1].split()[:-1] == [NAME, "2", "2", "0", "True", "AllReady"]
    assert wide[0].split()[7:] == ["INBOX", "OUTBOX", "DEAD", "LETTERS"]
    assert wide[1].split()[7:] == [fleet.tasks, fleet.results, "0"]
    assert "AllReady" in described
    assert described.rpartition("Events:")[2].count("\n") > 2
    assert len(explained.partition("DESCRIPTION:")[2].strip()) > 20


def test_an_impossible_wish_is_refused_in_words(fleet: Fleet) -> None:
    fleet.apply()

    with pytest.raises(Failed, match="partitions"):
        fleet.kubectl("scale", f"ag/{NAME}", "--replicas=13")


def test_an_edit_of_the_code_rolls_the_agents(fleet: Fleet) -> None:
    fleet.apply()
    fleet.wait_ready()
    fleet.send(20)
    fleet.wait_done()
    before = fleet.pod_names()

    fleet.apply_code(AGENT.read_text().replace("VERSION = 1", "VERSION = 2"))
    fleet.until("the agents to be replaced", lambda: not before & fleet.pod_names())
    fleet.wait_ready()
    fleet.send(20, version=2)
    fleet.wait_done()

    assert fleet.verdict().problems == ()


def test_a_suspended_group_keeps_its_work_until_it_is_resumed(fleet: Fleet) -> None:
    fleet.apply(think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(20)
    fleet.wait_for_work(48)

    fleet.kubectl("patch", f"ag/{NAME}", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    fleet.until("all agents to be gone", lambda: not fleet.pods())
    fleet.until("the reason", lambda: fleet.condition("Ready").get("reason") == "Suspended")
    fleet.send(10)
    fleet.until("the waiting work in the status", lambda: fleet.status().get("lag", 0) >= 10 * len(KEYS))
    fleet.kubectl("patch", f"ag/{NAME}", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    fleet.wait_ready()
    fleet.wait_done()

    verdict = fleet.verdict()
    assert verdict.problems == ()
    assert verdict.repeated <= MAX_ABOVE_POSITION


def test_retain_keeps_topics_and_offsets_for_the_next_group_of_that_name(fleet: Fleet) -> None:
    fleet.apply(think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(25)
    fleet.wait_for_work(48)

    fleet.kubectl("delete", f"ag/{NAME}", "--timeout=60s")
    fleet.until("all agents to be gone", lambda: not fleet.pods())
    assert fleet.own_topics() == {fleet.tasks, fleet.results, fleet.dead_letters}
    fleet.send(5)
    fleet.apply()
    fleet.wait_ready()
    fleet.wait_done()

    verdict = fleet.verdict()
    assert verdict.problems == ()
    assert verdict.repeated <= MAX_ABOVE_POSITION


def test_delete_removes_the_topics_and_the_consumer_group_too(fleet: Fleet) -> None:
    fleet.apply(deletion_policy="Delete", think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(25)
    fleet.wait_for_work(24)
    assert fleet.own_groups() == {fleet.group}

    fleet.kubectl("delete", f"ag/{NAME}", "--timeout=90s")

    assert fleet.pods() == []
    assert fleet.own_topics() == set()
    assert fleet.own_groups() == set()
