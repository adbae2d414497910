"""Agents that are not fine."""

from __future__ import annotations

from unit.operator.api.examples import Refused, spec

AGENTS: dict[str, Refused] = {
    "no workers": Refused({}, "spec.workers: Required", "spec.workers: it is required"),
    "no agent": Refused(
        {"workers": {}}, "spec.workers.agent: Required", "spec.workers.agent: it is required"
    ),
    "no handler": Refused(
        {"workers": {"agent": {}}}, "agent.handler: Required", "spec.workers.agent.handler: it is required"
    ),
    "a handler without an attribute": Refused(
        spec(agent={"handler": "triage"}),
        "write module:attribute, like triage:agent",
        "spec.workers.agent.handler: not an agent; write module:attribute",
    ),
    "a variable of the operator's": Refused(
        spec(agent={"env": [{"name": "KAFLEET_LANE_FILE", "value": "x"}]}),
        "variables that start with KAFLEET_ are the operator's",
        "spec.workers.agent.env[0]: variables that start with KAFLEET_",
    ),
    "a variable twice": Refused(
        spec(agent={"env": [{"name": "A"}, {"name": "A"}]}),
        "Duplicate value",
        "spec.workers.agent.env: a variable is given twice",
    ),
    "a variable with two values": Refused(
        spec(
            agent={
                "env": [
                    {"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
                ]
            }
        ),
        "value and valueFrom exclude each other",
        "spec.workers.agent.env[0]: value and valueFrom exclude each other",
    ),
    "a quantity that is none": Refused(
        spec(agent={"resources": {"limits": {"cpu": "much"}}}),
        "resources.limits.cpu",
        "limits.cpu: not a quantity",
    ),
    "a ConfigMap of another namespace": Refused(
        spec(agent={"code": {"configMap": "other/code"}}),
        "without a namespace",
        "spec.workers.agent.code.configMap: not the name of an object",
    ),
    "no spec of the workers but a list": Refused(
        {"workers": []}, 'spec.workers in body must be of type object: "array"', "spec.workers: input should"
    ),
    "a handler with a path": Refused(
        spec(agent={"handler": "triage/agent.py:agent"}),
        "write module:attribute, like triage:agent",
        "spec.workers.agent.handler: not an agent",
    ),
    "a handler with an empty part": Refused(
        spec(agent={"handler": "triage..sub:agent"}),
        "write module:attribute, like triage:agent",
        "spec.workers.agent.handler: not an agent",
    ),
    "a handler that is too long": Refused(
        spec(agent={"handler": "a:" + "b" * 252}), "may not be more than 253 bytes", "handler: not an agent"
    ),
    "an image with a space": Refused(
        spec(agent={"image": "triage: 1"}),
        "write it like registry.example/team/triage:1.0",
        "spec.workers.agent.image: not an image",
    ),
    "an image with a scheme": Refused(
        spec(agent={"image": "https://registry.example/triage"}),
        "write it like registry.example/team/triage:1.0",
        "spec.workers.agent.image: not an image",
    ),
    "code without a ConfigMap": Refused(
        spec(agent={"code": {}}), "code.configMap: Required", "code.configMap: it is required"
    ),
    "a configuration that is a list": Refused(
        spec(agent={"config": ["a"]}), "agent.config in body must be of type object", "agent.config: input"
    ),
    "a variable without a name": Refused(
        spec(agent={"env": [{"value": "x"}]}), "env[0].name: Required", "env[0].name: it is required"
    ),
    "a variable with a wrong name": Refused(
        spec(agent={"env": [{"name": "1st"}]}),
        "begin with a letter or _",
        "env[0].name: not the name of a variable",
    ),
    "a variable whose value is a number": Refused(
        spec(agent={"env": [{"name": "A", "value": 1}]}),
        "must be of type string",
        "env[0].value: input should",
    ),
    "a variable from two sources": Refused(
        spec(
            agent={
                "env": [
                    {
                        "name": "A",
                        "valueFrom": {
                            "secretKeyRef": {"name": "s", "key": "k"},
                            "configMapKeyRef": {"name": "c", "key": "k"},
                        },
                    }
                ]
            }
        ),
        "valueFrom names exactly one source",
        "env[0].valueFrom: valueFrom names exactly one source",
    ),
    "a variable from nowhere": Refused(
        spec(agent={"env": [{"name": "A", "valueFrom": {}}]}),
        "valueFrom names exactly one source",
        "env[0].valueFrom: valueFrom names exactly one source",
    ),
    "a Secret without a key": Refused(
        spec(agent={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}),
        "secretKeyRef.key: Required",
        "secretKeyRef.key: it is required",
    ),
    "a Secret of another namespace": Refused(
        spec(agent={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "o/s", "key": "k"}}}]}),
        "without a namespace",
        "secretKeyRef.name: not the name of an object",
    ),
    "a key that cannot be": Refused(
        spec(agent={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a/b"}}}]}),
        "not a key; write it in letters",
        "secretKeyRef.key: not a key",
    ),
    "variables from two objects at once": Refused(
        spec(agent={"envFrom": [{"secretRef": {"name": "s"}, "configMapRef": {"name": "c"}}]}),
        "configMapRef or secretRef; keep one",
        "envFrom[0]: each of envFrom names one object",
    ),
    "variables from no object": Refused(
        spec(agent={"envFrom": [{"prefix": "A_"}]}),
        "configMapRef or secretRef; keep one",
        "envFrom[0]: each of envFrom names one object",
    ),
    "too many variables": Refused(
        spec(agent={"env": [{"name": f"A{number}"} for number in range(101)]}),
        "must have at most 100 items",
        "spec.workers.agent.env: tuple should have at most 100 items",
    ),
    "a request over its limit": Refused(
        spec(agent={"resources": {"limits": {"cpu": 1}, "requests": {"cpu": "1500m"}}}),
        "a request is more than its limit",
        None,
    ),
    "a resource that Kubernetes does not know": Refused(
        spec(agent={"resources": {"limits": {"ram": "1Gi"}}}),
        "it knows cpu, memory, ephemeral-storage",
        None,
    ),
    "a negative quantity": Refused(
        spec(agent={"resources": {"limits": {"memory": "-1Gi"}}}),
        "resources.limits.memory",
        "limits.memory: not a quantity",
    ),
}
