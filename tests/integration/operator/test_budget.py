"""What fleets cost the API server, counted by its own audit log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from integration.operator.operators import OWNED, PATHS, agent_group, config_map
from integration.servers import eventually

if TYPE_CHECKING:
    from integration.operator.operators import Namespace, Operator

CHILDREN = {kind: PATHS[kind].rpartition("/")[2] for kind in OWNED}


def await_quiet(operator: Operator, namespace: Namespace) -> None:
    """Wait until two resyncs passed without a write."""
    seen, begun = -1, 0

    def is_quiet() -> bool:
        nonlocal seen, begun
        requests = operator.requests(namespace.name)
        writes = sum(verb not in {"get", "list", "watch"} for verb, _, _ in requests)
        if writes != seen:
            seen, begun = writes, operator.resyncs()
        return operator.resyncs() >= begun + 2

    eventually(is_quiet, seconds=180)


def test_a_create_costs_its_children_and_two_status_writes(operator: Operator, namespace: Namespace) -> None:
    """And no read: one pass makes topics and objects. Agents that start would turn conditions later."""
    namespace.apply(agent_group("warm", namespace.name))  # Kafka makes its offsets topic for the first group
    namespace.await_condition("warm", "Progressing", "True")
    body = agent_group("triage", namespace.name)
    body["spec"]["workers"]["replicas"] = 0
    namespace.apply(body)
    namespace.await_condition("triage", "TopicsReady", "True")
    await_quiet(operator, namespace)

    requests = [(verb, what) for verb, what, name in operator.requests(namespace.name) if "triage" in name]
    expected = Counter({("patch", plural): 1 for plural in CHILDREN.values()})
    expected["patch", "agentgroups/status"] = 2
    expected["create", "events"] = 1
    assert Counter(requests) == expected


def test_a_hundred_idle_fleets_cost_no_write_and_one_read_of_what_they_refer_to(
    operator: Operator, namespace: Namespace
) -> None:
    """Of each ConfigMap and resync, however many refer to it."""
    namespace.apply(config_map("code", namespace.name, {"triage.py": "1"}))
    bodies = [
        agent_group(f"fleet-{number}", namespace.name, code={"configMap": "code"}) for number in range(100)
    ]
    for body in bodies:
        body["spec"]["workers"]["replicas"] = 0
    namespace.apply(*bodies)
    for body in bodies:
        namespace.await_condition(body["metadata"]["name"], "TopicsReady", "True")
    await_quiet(operator, namespace)

    before, resyncs = Counter(operator.requests(namespace.name)), operator.resyncs()
    eventually(lambda: operator.resyncs() >= resyncs + 3)
    made = Counter(operator.requests(namespace.name)) - before
    passed = operator.resyncs() - resyncs
    reads = made.pop(("get", "configmaps", "code"))
    assert 2 <= reads <= passed + 1
    assert {verb for verb, _, _ in made} <= {"watch"}, made
