from __future__ import annotations

from dataclasses import replace

import pytest
from unit.operator.planning.samples import (
    DEAD,
    FLEET,
    NAMES,
    RESULTS,
    ROOM,
    TASKS,
    planned,
    state,
    topics,
    with_topic,
)

from kafleet_operator.planning.observations import Unknown
from kafleet_operator.planning.plans import Claim, ConfigureTopic, CreateTopic, GrowTopic

MINE = Claim("tasks", TASKS.name, f"id of {TASKS.name}", 4, is_created=True)


def reasons(plan: object) -> set[tuple[str, str]]:
    return {(each.condition, each.reason) for each in plan.refusals if each.reason != "RollingOut"}  # type: ignore[attr-defined]


def test_missing_topics_are_claimed_and_created() -> None:
    """Every topic that is missing is claimed as ours in the plan that creates it."""
    plan = planned(dict.fromkeys(NAMES))

    assert plan.create_topics == (
        CreateTopic(TASKS.name, 4, -1, {}),
        CreateTopic(RESULTS.name, 4, -1, {}),
        CreateTopic(DEAD.name, 4, -1, ROOM),
    )
    assert plan.claims == tuple(
        Claim(topic.role, topic.name, "", 4, is_created=True) for topic in FLEET.topics
    )


def test_topics_as_wished_need_nothing() -> None:
    """No step for topics that are as they should be."""
    plan = planned(topics(), (MINE,))

    assert (plan.create_topics, plan.grow_topics, plan.configure_topics) == ((), (), ())
    assert plan.claims[0] == MINE


def test_unknown_topics_keep_their_claims_and_get_no_step() -> None:
    """While Kafka cannot be read, nothing is forgotten and nothing is done to it."""
    plan = planned(Unknown("KafkaUnreachable", "nobody answers"), (MINE,))

    assert plan.claims == (MINE,)
    assert (plan.create_topics, plan.grow_topics, plan.configure_topics) == ((), (), ())


def test_a_topic_claimed_before_a_crash_is_ours() -> None:
    """A claim without an id was written before the create: the topic that exists now was made by us."""
    plan = planned(topics(), (replace(MINE, id=""),))

    assert plan.claims[0] == MINE


def test_a_topic_made_again_by_others_is_not_ours_to_delete() -> None:
    """The id tells the topic that we made from another of its name, and is noted later."""
    seen = topics(tasks=state(TASKS.name, id="another"))
    first = planned(seen, (MINE,)).claims[0]
    second = planned(seen, (first,)).claims[0]

    assert first == replace(MINE, id="", is_created=False, replaces=MINE.id)
    assert second == replace(first, id="another")


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({"is_named": True}, {("TopicsReady", "TopicConflict")}),
        ({"is_named": False}, set()),
    ],
)
def test_only_a_default_name_is_adopted_silently(
    changes: dict[str, bool], condition: set[tuple[str, str]]
) -> None:
    """A topic that exists under a name the user chose might be anybody's."""
    plan = planned(topics(), fleet=with_topic(replace(TASKS, **changes)))  # type: ignore[arg-type]

    assert reasons(plan) == condition
    assert [claim.role for claim in plan.claims if not claim.is_created][-2:] == ["results", "dead-letters"]


def test_the_annotation_takes_a_named_topic_over() -> None:
    """Adopted, and therefore never deleted."""
    fleet = replace(with_topic(replace(TASKS, is_named=True)), adopts_topics=True)
    plan = planned(topics(), fleet=fleet)

    assert reasons(plan) == set()
    assert plan.claims[0] == replace(MINE, is_created=False)


def test_a_topic_of_another_resource_is_never_taken_over() -> None:
    """Not even with the annotation or an older claim, and not even if it is missing just now."""
    held = {TASKS.name: "AgentGroup support/older"}
    for seen in (topics(), topics(tasks=None)):
        plan = planned(seen, (MINE,), fleet=replace(FLEET, adopts_topics=True), held=held)

        assert reasons(plan) == {("TopicsReady", "TopicConflict")}
        assert "AgentGroup support/older" in plan.refusals[0].message
        assert (plan.create_topics, [claim.role for claim in plan.claims]) == (
            (),
            ["results", "dead-letters"],
        )


def test_a_name_may_have_one_role_only() -> None:
    """A worker that answers into its own inbox would never end."""
    plan = planned(topics(), fleet=with_topic(replace(RESULTS, name=TASKS.name)))

    assert reasons(plan) == {("Accepted", "InvalidSpec")}
    assert [claim.role for claim in plan.claims] == ["dead-letters"]


def test_growth_needs_leave() -> None:
    """More partitions move keys: refused, until the spec allows it."""
    larger = replace(TASKS, partitions=6)

    assert reasons(planned(topics(), fleet=with_topic(larger))) == {
        ("TopicsReady", "PartitionGrowthNotAllowed")
    }
    plan = planned(topics(), fleet=with_topic(replace(larger, may_grow=True)))
    assert (plan.grow_topics, reasons(plan)) == ((GrowTopic(TASKS.name, 6),), set())


def test_what_kafka_cannot_do_is_refused() -> None:
    """Fewer partitions and another replication factor are said, and nothing is done."""
    plan = planned(topics(), fleet=with_topic(replace(TASKS, partitions=3, replication_factor=2)))

    assert reasons(plan) == {
        ("TopicsReady", "PartitionDecreaseNotSupported"),
        ("TopicsReady", "ReplicationFactorChangeNotSupported"),
    }
    assert (plan.grow_topics, plan.configure_topics) == ((), ())


@pytest.mark.parametrize(
    ("wished", "seen"),
    [
        ("1", "1.0"),
        ("TRUE", "true"),
        ("compact, delete", "compact,delete"),
        ("0604800000", "604800000"),
        ("gzip", "gzip"),
    ],
)
def test_values_that_kafka_writes_its_own_way_are_no_drift(wished: str, seen: str) -> None:
    """A spelling of Kafka's does not make the operator set a value for ever."""
    fleet = with_topic(replace(RESULTS, config={"some.setting": wished}))
    plan = planned(topics(results=state(RESULTS.name, overrides={"some.setting": seen})), fleet=fleet)

    assert plan.configure_topics == ()


def test_drift_is_repaired_and_what_was_removed_is_reset() -> None:
    """Overrides are exactly the wished ones."""
    fleet = with_topic(replace(RESULTS, config={"a": "1", "b": "2", "c": "gzip"}))
    seen = topics(results=state(RESULTS.name, overrides={"a": "1", "b": "3", "c": "GZIP", "z": "9"}))

    assert planned(seen, fleet=fleet).configure_topics == (
        ConfigureTopic(RESULTS.name, {"b": "2", "c": "gzip"}, ("z",)),
    )


@pytest.mark.parametrize(
    ("config", "room"),
    [
        ({}, 65_536 + 5_000_000),
        ({"max.message.bytes": "9000000"}, 9_000_000),
        ({"max.message.bytes": "7"}, 5_065_536),
    ],
)
def test_a_dead_letter_has_room_for_its_cause(config: dict[str, str], room: int) -> None:
    """The dead-letter topic takes the largest record of the inbox and the headers, whatever the spec says."""
    seen = topics(tasks=state(TASKS.name, max_message_bytes=5_000_000))
    plan = planned(seen, fleet=with_topic(replace(DEAD, config=config)))

    assert plan.configure_topics[0].set == {"max.message.bytes": str(room)}


def test_the_room_follows_the_wish_for_the_inbox() -> None:
    """What the inbox shall accept counts, not what it accepts today."""
    fleet = with_topic(replace(TASKS, config={"max.message.bytes": "2000000"}))

    assert planned(dict.fromkeys(NAMES), fleet=fleet).create_topics[2].config == {
        "max.message.bytes": "2065536"
    }


@pytest.mark.parametrize("inbox", [None, state(TASKS.name, overrides={"max.message.bytes": "5"})])
def test_the_room_stays_while_only_the_broker_knows_the_limit(inbox: object) -> None:
    """An inbox that is missing or has drifted does not shrink the dead-letter topic meanwhile."""
    seen = topics(
        tasks=inbox,  # type: ignore[arg-type]
        **{"dead-letters": state(DEAD.name, overrides={"max.message.bytes": "7777777"})},
    )

    assert DEAD.name not in {step.name for step in planned(seen).configure_topics}


def test_throttles_of_a_reassignment_are_left_alone() -> None:
    """Kafka's own tools set them while they move replicas, and take them away."""
    throttled = {"leader.replication.throttled.replicas": "0:1", "z": "9"}
    seen = topics(results=state(RESULTS.name, overrides=throttled))

    assert planned(seen).configure_topics == (ConfigureTopic(RESULTS.name, {}, ("z",)),)


FOREIGN_DEAD = replace(DEAD, partitions=None, managed=False, is_named=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_message_bytes": 1_048_588}, ["let its owner set max.message.bytes=1114124"]),
        ({"max_message_bytes": 1_114_124}, []),
        ({"max_message_bytes": 9_999_999, "cleanup_policy": "compact,delete"}, ["is compacted"]),
    ],
)
def test_a_foreign_topic_must_take_every_dead_letter(changes: dict[str, object], words: list[str]) -> None:
    """Otherwise a key whose dead letter cannot be written would wait for ever."""
    seen = topics(**{"dead-letters": state(DEAD.name, **changes)})
    plan = planned(seen, fleet=with_topic(FOREIGN_DEAD))

    told = [each.message for each in plan.refusals if each.reason == "InvalidSpec"]
    assert len(told) == len(words)
    assert all(part in message for part, message in zip(words, told, strict=True))
    assert reasons(plan) == ({("Accepted", "InvalidSpec")} if words else set())


def test_a_foreign_topic_for_dead_letters_that_is_missing_is_only_missing() -> None:
    """What it takes is not known before it is there."""
    plan = planned(topics(**{"dead-letters": None}), fleet=with_topic(FOREIGN_DEAD))

    assert reasons(plan) == {("TopicsReady", "ReferenceNotFound")}


FOREIGN = replace(TASKS, partitions=None, managed=False, is_named=True)


def test_a_foreign_topic_is_only_looked_at() -> None:
    """Nothing is created or changed, and its real size is remembered."""
    seen = topics(tasks=state(TASKS.name, partitions=9, overrides={"retention.ms": "5"}))
    plan = planned(seen, fleet=with_topic(FOREIGN))

    assert plan.claims[0] == Claim("tasks", TASKS.name, MINE.id, 9, is_created=False, managed=False)
    assert (plan.create_topics, plan.configure_topics, reasons(plan)) == ((), (), set())


def test_a_foreign_topic_that_is_missing_is_waited_for() -> None:
    """It is somebody else's to create."""
    plan = planned(topics(tasks=None), fleet=with_topic(FOREIGN))

    assert plan.create_topics == ()
    assert reasons(plan) == {("TopicsReady", "ReferenceNotFound")}


def test_a_topic_that_becomes_managed_is_no_prey() -> None:
    """Having used somebody's topic is no claim to it."""
    claim = replace(MINE, is_created=False, managed=False)
    plan = planned(topics(), (claim,), fleet=with_topic(replace(TASKS, is_named=True)))

    assert reasons(plan) == {("TopicsReady", "TopicConflict")}
