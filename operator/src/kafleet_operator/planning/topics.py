"""What to do about a fleet's topics. Nothing that belongs to somebody else is ever changed or taken over."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from kafleet_operator.planning.observations import DEFAULT_MAX_MESSAGE_BYTES, TopicState, Unknown
from kafleet_operator.planning.plans import (
    Claim,
    ConfigureTopic,
    CreateTopic,
    GrowTopic,
    Plan,
    join,
    refusal,
)
from kafleet_operator.planning.replacing import plan_replacements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafleet_operator.planning.fleets import Fleet, Lane, Topic
    from kafleet_operator.planning.observations import Observed

MAX_MESSAGE_BYTES = "max.message.bytes"
CLEANUP_POLICY = "cleanup.policy"
# A dead letter carries the headers of its cause beside the record as it was.
CAUSE_BYTES = 64 * 1024
# Kafka's own tools set these for as long as a reassignment takes, and remove them.
THROTTLES = frozenset({"leader.replication.throttled.replicas", "follower.replication.throttled.replicas"})


def plan_topics(fleet: Fleet, observed: Observed, claims: tuple[Claim, ...]) -> Plan:
    """Return the steps for all topics of a fleet; none while Kafka cannot be read."""
    known = {(claim.role, claim.name): claim for claim in claims}
    if isinstance(observed.topics, Unknown):
        kept = (known.get((topic.role, topic.name)) for topic in fleet.topics)
        note = f"topics are unknown ({observed.topics.reason}): left as they are"
        return Plan(claims=tuple(claim for claim in kept if claim), notes=(note,))
    uses = Counter(topic.name for topic in fleet.topics)
    plan = join(
        _plan_topic(fleet, topic, observed, observed.topics, known.get((topic.role, topic.name)))
        if uses[topic.name] == 1
        else _refused(
            f"topic {topic.name!r} has several roles; give each role a topic of its own", "InvalidSpec"
        )
        for topic in fleet.topics
    )
    return plan_replacements(fleet, observed, plan, claims)


def partitions_ahead(topic: Topic, plan: Plan) -> int | None:
    """Return how many partitions a topic has once the plan is performed; None if that is not known."""
    grown = next((step.partitions for step in plan.grow_topics if step.name == topic.name), None)
    known = next((claim.partitions for claim in plan.claims if claim.role == topic.role), None)
    return known if grown is None else grown


def compacted_inputs(fleet: Fleet, lane: Lane, observed: Observed) -> list[str]:
    """Return the names of the inputs that may lose tasks; of those we manage, compaction is drift."""
    if isinstance(observed.topics, Unknown):
        return []
    topics = [fleet.topic(role) for role in lane.inputs]
    states = [observed.topics.get(topic.name) for topic in topics if not topic.managed]
    return [state.name for state in states if state and "compact" in state.cleanup_policy]


def _plan_topic(
    fleet: Fleet,
    topic: Topic,
    observed: Observed,
    states: Mapping[str, TopicState | None],
    claim: Claim | None,
) -> Plan:
    state = states.get(topic.name)
    if not topic.managed:
        return join((_plan_foreign(topic, state, claim), _plan_foreign_dead_letters(fleet, topic, states)))
    if topic.name in observed.claims:
        holder = observed.claims[topic.name]
        return _refused(f"topic {topic.name!r} belongs to {holder}; choose another name", "TopicConflict")
    config = _wished_config(fleet, topic, states)
    mine = claim if claim and claim.managed else None
    if state is None:
        return _plan_creation(topic, config, claim)
    if mine is None and topic.is_named and not fleet.adopts_topics:
        return _refused(
            f"topic {topic.name!r} exists already; to take it over set the annotation "
            'kafleet.dev/adopt: "true", to use it as it is set managed: false',
            "TopicConflict",
        )
    return join(
        (_plan_claim(topic, state, claim), _plan_size(topic, state), _plan_config(topic, state, config))
    )


def _plan_foreign(topic: Topic, state: TopicState | None, claim: Claim | None) -> Plan:
    if state is None:
        missing = _refused(
            f"topic {topic.name!r} does not exist and is not managed; create it, or name another",
            "ReferenceNotFound",
        )
        known = Claim(topic.role, topic.name, managed=False, replaces=_replaced(claim))
        return replace(missing, claims=(known,) if known.replaces else ())
    seen = Claim(topic.role, topic.name, state.id, state.partitions, managed=False)
    return Plan(claims=(replace(seen, replaces=_replaced(claim, state)),))


def _plan_foreign_dead_letters(fleet: Fleet, topic: Topic, states: Mapping[str, TopicState | None]) -> Plan:
    """Refuse a topic that some dead letters cannot be written to: their keys would wait for ever."""
    state, limits = states.get(topic.name), _limits_of_dead_letters(fleet, topic, states)
    if state is None or not limits:
        return Plan()
    plans = []
    room = max(limit or DEFAULT_MAX_MESSAGE_BYTES for limit in limits) + CAUSE_BYTES
    if state.max_message_bytes < room:
        plans.append(
            _refused(
                f"topic {topic.name!r} takes at most {state.max_message_bytes} bytes, and a dead letter may "
                f"have {room}; let its owner set {MAX_MESSAGE_BYTES}={room}",
                "InvalidSpec",
            )
        )
    if "compact" in state.cleanup_policy:
        plans.append(
            _refused(
                f"topic {topic.name!r} is compacted, so it takes no dead letter without a key and forgets "
                "others; use a topic with cleanup.policy=delete",
                "InvalidSpec",
            )
        )
    return join(plans)


def _replaced(claim: Claim | None, state: TopicState | None = None) -> str:
    """Return the id of the topic that was here before, as far as a claim remembers one."""
    if claim is None:
        return ""
    is_another = claim.id and (state is None or claim.id != state.id)
    return claim.id if is_another else claim.replaces


def _plan_creation(topic: Topic, config: Mapping[str, str], claim: Claim | None) -> Plan:
    partitions = topic.partitions or 1
    step = CreateTopic(topic.name, partitions, topic.replication_factor, config)
    replaced = _replaced(claim)
    again = ": it was deleted outside" if replaced else ""
    return Plan(
        claims=(Claim(topic.role, topic.name, "", partitions, is_created=True, replaces=replaced),),
        create_topics=(step,),
        notes=(f"create topic {topic.name!r} with {partitions} partitions{again}",),
    )


def _plan_claim(topic: Topic, state: TopicState, claim: Claim | None) -> Plan:
    fresh = Claim(topic.role, topic.name, state.id, state.partitions, replaces=_replaced(claim, state))
    if claim is None or not claim.managed:
        return Plan(claims=(fresh,), notes=(f"adopt topic {topic.name!r}",))
    if claim.id not in {"", state.id}:
        # Another id is another's creation. It is noted only after a status has told of it.
        note = f"adopt topic {topic.name!r}: it was made again outside"
        return Plan(claims=(replace(fresh, id=""),), notes=(note,))
    # A claim without an id was written just before we made the topic.
    return Plan(claims=(replace(fresh, is_created=claim.is_created),))


def _plan_size(topic: Topic, state: TopicState) -> Plan:
    wished, seen = topic.partitions or state.partitions, state.partitions
    plans = []
    if wished < seen:
        plans.append(
            _refused(
                f"topic {topic.name!r} has {seen} partitions, and Kafka cannot take any away; "
                f"set partitions: {seen}",
                "PartitionDecreaseNotSupported",
            )
        )
    elif wished > seen and topic.may_grow:
        note = f"grow topic {topic.name!r} from {seen} to {wished} partitions"
        plans.append(Plan(grow_topics=(GrowTopic(topic.name, wished),), notes=(note,)))
    elif wished > seen:
        plans.append(
            _refused(
                f"topic {topic.name!r} has {seen} partitions, and growing to {wished} moves keys to other "
                f"partitions; set onGrowth: Reorder to allow it, or partitions: {seen}",
                "PartitionGrowthNotAllowed",
            )
        )
    if topic.replication_factor not in {-1, state.replication_factor}:
        plans.append(
            _refused(
                f"topic {topic.name!r} has replication factor {state.replication_factor}; reassign it with "
                f"kafka-reassign-partitions, or set replicationFactor: {state.replication_factor}",
                "ReplicationFactorChangeNotSupported",
            )
        )
    return join(plans)


def _plan_config(topic: Topic, state: TopicState, wished: Mapping[str, str]) -> Plan:
    seen = state.overrides
    changed = {
        key: value
        for key, value in sorted(wished.items())
        if key not in seen or _canonical(seen[key]) != _canonical(value)
    }
    extra = tuple(sorted(set(seen) - set(wished) - THROTTLES))
    if not changed and not extra:
        return Plan()
    words = [f"set {key}={value}" for key, value in changed.items()] + [f"reset {key}" for key in extra]
    return Plan(
        configure_topics=(ConfigureTopic(topic.name, changed, extra),),
        notes=(f"configure topic {topic.name!r}: {', '.join(words)}",),
    )


def _wished_config(fleet: Fleet, topic: Topic, states: Mapping[str, TopicState | None]) -> Mapping[str, str]:
    """Return the overrides a topic shall have: the user's, and room for every dead letter."""
    limits = _limits_of_dead_letters(fleet, topic, states)
    if not limits:
        return topic.config
    state = states.get(topic.name)
    if state and MAX_MESSAGE_BYTES in state.overrides and None in limits:
        return {MAX_MESSAGE_BYTES: state.overrides[MAX_MESSAGE_BYTES]} | dict(topic.config)
    room = max(limit or DEFAULT_MAX_MESSAGE_BYTES for limit in limits) + CAUSE_BYTES
    return {**topic.config, MAX_MESSAGE_BYTES: str(max(room, _number(topic.config.get(MAX_MESSAGE_BYTES))))}


def _limits_of_dead_letters(
    fleet: Fleet, topic: Topic, states: Mapping[str, TopicState | None]
) -> list[int | None]:
    """Return the largest record of each inbox whose dead letters go to a topic, None if it is not known."""
    feeding = {role for lane in fleet.lanes if lane.dead_letters == topic.role for role in lane.inputs}
    inputs = [fleet.topic(role) for role in sorted(feeding)]
    return [_record_limit(each, states.get(each.name)) for each in inputs]


def _record_limit(topic: Topic, state: TopicState | None) -> int | None:
    """Return the largest record batch a topic accepts once it is as wished; None if only the broker knows."""
    if topic.managed and MAX_MESSAGE_BYTES in topic.config:
        return _number(topic.config[MAX_MESSAGE_BYTES])
    is_drifted = topic.managed and state is not None and MAX_MESSAGE_BYTES in state.overrides
    return None if state is None or is_drifted else state.max_message_bytes


def _number(value: str | None) -> int:
    return int(value) if value and value.isdecimal() else 0


def _canonical(value: str) -> tuple[float | int | str, ...]:
    """Return a value as Kafka would write it back, as far as equality goes: numbers, booleans and lists."""
    return tuple(_canonical_word(word.strip()) for word in value.split(","))


def _canonical_word(word: str) -> float | int | str:
    for read in (int, float):
        try:
            return read(word)
        except ValueError:
            continue
    return word.lower() if word.lower() in {"true", "false"} else word


def _refused(message: str, reason: str) -> Plan:
    condition = "Accepted" if reason == "InvalidSpec" else "TopicsReady"
    return refusal(condition, reason, message)
