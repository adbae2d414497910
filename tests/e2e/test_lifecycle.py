"""A fleet's life through kubectl: applied, suspended, deleted, applied again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.fleets import KEYS, NAME, REJECTED

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


def test_a_suspended_group_keeps_its_work_until_it_is_resumed(fleet: Fleet) -> None:
    fleet.apply(think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(20)
    fleet.wait_for_work(48)

    fleet.edit({"suspend": True})
    fleet.until("all agents to be gone", lambda: not fleet.pods())
    fleet.until("the reason", lambda: fleet.condition("Ready").get("reason") == "Suspended")
    fleet.send(10)
    fleet.until("the waiting work in the status", lambda: fleet.status().get("lag", 0) >= 10 * len(KEYS))
    fleet.edit({"suspend": False})
    fleet.wait_ready()
    fleet.wait_done()

    verdict = fleet.verdict()
    assert verdict.problems == ()
    assert verdict.repeated == 0


def test_retain_keeps_topics_and_offsets_for_the_next_group_of_that_name(fleet: Fleet) -> None:
    fleet.apply(think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(25)
    fleet.wait_for_work(48)

    fleet.kubectl("delete", f"ag/{NAME}", "--timeout=240s")
    fleet.until("all agents to be gone", lambda: not fleet.pods())
    assert fleet.own_topics() == {fleet.tasks, fleet.results, fleet.dead_letters}
    fleet.send(5)
    fleet.apply()
    fleet.wait_ready()
    fleet.wait_done()

    verdict = fleet.verdict()
    assert verdict.problems == ()
    assert verdict.repeated == 0


def test_delete_removes_the_topics_and_the_consumer_group_too(fleet: Fleet) -> None:
    fleet.apply(think_seconds=0.1, spec={"deletionPolicy": "Delete"})
    fleet.wait_ready()
    fleet.send(25)
    fleet.wait_for_work(24)
    assert fleet.own_groups() == {fleet.group}

    fleet.kubectl("delete", f"ag/{NAME}", "--timeout=240s")

    assert fleet.pods() == []
    assert fleet.own_topics() == set()
    assert fleet.own_groups() == set()
