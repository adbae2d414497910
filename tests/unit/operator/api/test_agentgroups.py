from __future__ import annotations

import pytest
from unit.operator.api.examples import VALID, Spec, spec
from unit.operator.api.refusals import INVALID

from kafleet_operator.api.agentgroups import parse_agent_group
from kafleet_operator.errors import InvalidSpec

PARSED = {name: each for name, each in INVALID.items() if each.parsing}


@pytest.mark.parametrize("name", VALID)
def test_what_makes_sense_is_read(name: str) -> None:
    """Each spec that the API server takes can be read."""
    assert parse_agent_group({"spec": VALID[name]}).workers.agent.handler


@pytest.mark.parametrize("name", PARSED)
def test_nonsense_is_named_with_its_field(name: str) -> None:
    """A spec that came past the API server's rules is refused in words."""
    refused = PARSED[name]

    with pytest.raises(InvalidSpec) as caught:
        parse_agent_group({"spec": refused.spec})
    assert str(refused.parsing) in str(caught.value)


@pytest.mark.parametrize("nonsense", [None, {}, [], "x", 5])
def test_a_body_without_a_spec_is_refused(nonsense: object) -> None:
    """Whatever a broken client stored."""
    with pytest.raises(InvalidSpec, match="spec"):
        parse_agent_group({"spec": nonsense})
    with pytest.raises(InvalidSpec, match="spec"):
        parse_agent_group({})


def test_every_mistake_is_named_at_once() -> None:
    """Nobody has to correct a spec one error at a time."""
    with pytest.raises(InvalidSpec) as caught:
        parse_agent_group({"spec": spec(delivery={"hopLimit": 0, "concurrency": 0}, nonsense=1)})

    message = str(caught.value)
    assert "spec.delivery.hopLimit: " in message
    assert "spec.delivery.concurrency: " in message
    assert "spec.nonsense: this version knows no such field; remove it" in message


@pytest.mark.parametrize(
    ("duration", "seconds"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h", 3600), ("1.5h", 5400)]
)
def test_durations_are_seconds(duration: str, seconds: float) -> None:
    """Inside, every duration is a number of seconds."""
    body: Spec = {"spec": spec(delivery={"drainTimeout": "0s", "taskTimeout": duration})}

    assert parse_agent_group(body).delivery.task_timeout == seconds
