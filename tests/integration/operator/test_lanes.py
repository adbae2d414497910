"""Everything a lane is made of: references, templates, protection, and what is said when it is wrong."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from integration.operator.operators import USER, agent_group, config_map
from integration.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.operator.operators import Json, Namespace, Operator
    from integration.servers import Kubernetes

pytestmark = pytest.mark.usefixtures("operator")

REFERENCES = "kafleet.dev/references-hash"
ROLE = "kafleet-system:kafleet"


def template(namespace: Namespace, name: str = "triage-workers") -> Json:
    found: Json = namespace.expect("Deployment", name)["spec"]["template"]
    return found


def has_rolled(namespace: Namespace, before: Json) -> bool:
    return template(namespace) != before


def secret(namespace: Namespace, value: str) -> Json:
    metadata = {"name": "keys", "namespace": namespace.name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"api": value}}


def with_secret(namespace: Namespace, key: str = "api") -> Json:
    source = {"secretKeyRef": {"name": "keys", "key": key}}
    return agent_group("triage", namespace.name, env=[{"name": "KEY", "valueFrom": source}])


def test_a_secret_is_allowed_by_the_command_that_the_condition_gives(
    namespace: Namespace, kubernetes: Kubernetes, operator: Operator
) -> None:
    """Refused at first; then agents start, an edit rolls them, and the value is nowhere."""
    namespace.apply(secret(namespace, "first-value"), with_secret(namespace))
    message = namespace.await_condition("triage", "Accepted", "Unknown", "NotAuthorized")
    assert namespace.read("Deployment", "triage-workers") is None
    _, _, command = message.partition("kubectl ")
    kubernetes.kubectl(*shlex.split(command))
    namespace.await_condition("triage", "Accepted", "True")
    namespace.await_deployment("triage-workers")

    before = template(namespace)["metadata"]["annotations"][REFERENCES]
    namespace.apply(secret(namespace, "second-value"))
    eventually(lambda: template(namespace)["metadata"]["annotations"][REFERENCES] != before)
    told = str(namespace.expect("AgentGroup", "triage")) + str(operator.log())
    assert "first-value" not in told


def test_a_missing_key_is_named_and_stops_no_agent(namespace: Namespace) -> None:
    """The path, the object and the key; who runs goes on with what there was."""
    body = agent_group("triage", namespace.name)
    source = {"configMapKeyRef": {"name": "conf", "key": "level"}}
    body["spec"]["workers"]["agent"]["env"] = [{"name": "LEVEL", "valueFrom": source}]
    namespace.apply(config_map("conf", namespace.name, {"level": "info"}), body)
    namespace.await_deployment("triage-workers")
    before = template(namespace)
    namespace.patch("ConfigMap", "conf", {"data": {"level": None, "other": "1"}})

    message = namespace.await_condition("triage", "Accepted", "False", "ReferenceNotFound")
    path = "spec.workers.agent.env[0].valueFrom.configMapKeyRef"
    assert message == f"{path} names key 'level', which ConfigMap 'conf' does not have; add it"
    assert template(namespace) == before
    namespace.patch("ConfigMap", "conf", {"data": {"level": "debug"}})
    namespace.await_condition("triage", "Accepted", "True")
    eventually(lambda: template(namespace) != before)


def test_an_edit_is_seen_by_the_watch(namespace: Namespace, operator: Operator) -> None:
    """One watch a kind and namespace, of metadata, that the API server grants."""
    namespace.apply(config_map("code", namespace.name, {"triage.py": "1"}))
    namespace.apply(agent_group("triage", namespace.name, code={"configMap": "code"}))
    namespace.await_deployment("triage-workers")

    watch = ("watch", "configmaps", "")
    eventually(lambda: watch in operator.requests(namespace.name, "kafleet-operator/"))


EDITS: dict[str, Json] = {
    "image": {"agent": {"image": "registry.test/mine:2"}},
    "handler": {"agent": {"handler": "triage:other"}},
    "config": {"agent": {"config": {"labels": ["a"]}}},
    "env": {"agent": {"env": [{"name": "LEVEL", "value": "debug"}]}},
    "envFrom": {"agent": {"envFrom": [{"configMapRef": {"name": "none", "optional": True}}]}},
    "code": {"agent": {"code": {"configMap": "code"}}},
    "resources": {"agent": {"resources": {"limits": {"memory": "1Gi"}}}},
    "podTemplate": {"agent": {"podTemplate": {"metadata": {"labels": {"team": "a"}}}}},
    "delivery": {"delivery": {"concurrency": 7}},
    "taskTimeout": {"delivery": {"taskTimeout": "10m"}},
}


def test_every_edit_of_the_spec_reaches_the_pods(namespace: Namespace) -> None:
    """One after the other, each by a new template, and new agents before old ones go."""
    namespace.apply(
        config_map("code", namespace.name, {"triage.py": "1"}), agent_group("triage", namespace.name)
    )
    namespace.await_deployment("triage-workers")
    for edit in EDITS.values():
        before = template(namespace)
        namespace.patch("AgentGroup", "triage", {"spec": {"workers": edit}})
        eventually(partial(has_rolled, namespace, before))
    namespace.await_condition("triage", "Accepted", "True")

    eventually(lambda: template(namespace)["spec"]["terminationGracePeriodSeconds"] == 630)
    deployment = namespace.expect("Deployment", "triage-workers")
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod = deployment["spec"]["template"]
    (agent,) = pod["spec"]["containers"]
    assert (agent["image"], pod["metadata"]["labels"]["team"]) == ("registry.test/mine:2", "a")


TEMPLATE = {
    "metadata": {"labels": {"team": "support"}, "annotations": {"example.com/a": "b"}},
    "spec": {
        "nodeSelector": {},
        "hostNetwork": False,
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"team": "support"}},
            }
        ],
        "containers": [
            {
                "name": "agent",
                "imagePullPolicy": "Always",
                "volumeMounts": [
                    {"name": "scratch", "mountPath": "/a", "subPath": "a"},
                    {"name": "scratch", "mountPath": "/b", "subPath": "b"},
                ],
            },
            {"name": "proxy", "image": "registry.test/proxy:1", "ports": [{"containerPort": 9000}]},
        ],
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}}],
    },
}


def test_a_pod_template_is_laid_over_the_pods_and_written_once(
    namespace: Namespace, operator: Operator
) -> None:
    """Whatever spelling the API server gives it: nothing is repaired for ever."""
    namespace.apply(agent_group("triage", namespace.name, podTemplate=TEMPLATE))
    namespace.await_deployment("triage-workers")
    namespace.await_condition("triage", "TopicsReady", "True")
    pod = template(namespace)
    agent, proxy = pod["spec"]["containers"]
    assert (agent["imagePullPolicy"], proxy["name"]) == ("Always", "proxy")
    assert [mount["mountPath"] for mount in agent["volumeMounts"]][-2:] == ["/a", "/b"]
    assert pod["metadata"]["labels"]["team"] == "support"

    resyncs = operator.resyncs()
    eventually(lambda: operator.resyncs() >= resyncs + 2)
    writes = [each for each in operator.requests(namespace.name) if each[:2] == ("patch", "deployments")]
    assert len(writes) == 1


def test_a_pod_template_cannot_take_what_is_the_operators(namespace: Namespace) -> None:
    """The path is named, and agents that run stay as they are until it is mended."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_deployment("triage-workers")
    before = template(namespace)
    wrong = {"spec": {"containers": [{"name": "agent", "livenessProbe": None}], "restartPolicy": "Never"}}
    namespace.apply(agent_group("triage", namespace.name, podTemplate=wrong))

    message = namespace.await_condition("triage", "Accepted", "False", "InvalidSpec")
    assert "spec.workers.agent.podTemplate.spec.restartPolicy is the operator's to set; remove it" in message
    assert template(namespace) == before
    namespace.apply(agent_group("triage", namespace.name, podTemplate={"spec": {"nodeSelector": {"a": "b"}}}))
    namespace.await_condition("triage", "Accepted", "True")
    eventually(lambda: template(namespace)["spec"].get("nodeSelector") == {"a": "b"})


def test_a_pod_template_that_makes_no_sense_is_refused_in_the_api_servers_words(namespace: Namespace) -> None:
    """It knows pods better."""
    wrong = {"spec": {"tolerations": [{"key": "a", "operator": "Sometimes"}]}}
    namespace.apply(agent_group("triage", namespace.name, podTemplate=wrong))

    message = namespace.await_condition("triage", "AgentsReady", "False", "InternalError")
    assert "Deployment 'triage-workers'" in message
    assert "tolerations[0].operator" in message


def test_agents_run_where_only_restricted_pods_may(namespace: Namespace, kubernetes: Kubernetes) -> None:
    """Pod Security Standards, enforced: the ReplicaSet makes them."""
    kubernetes.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    namespace.apply(agent_group("triage", namespace.name))

    pods = eventually(lambda: namespace.every("Pod"))
    assert pods[0]["metadata"]["labels"]["kafleet.dev/lane"] == "workers"


def test_pods_that_may_not_be_made_are_told(namespace: Namespace, kubernetes: Kubernetes) -> None:
    """A quota, in the words of the API server."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": namespace.name},
        "spec": {"hard": {"pods": "0"}},
    }
    namespace.apply(quota)
    path = f"/api/v1/namespaces/{namespace.name}/resourcequotas/none"
    kubernetes.patch(path + "/status", {"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}})
    namespace.apply(agent_group("triage", namespace.name))

    def is_told() -> bool:
        return "exceeded quota: none" in namespace.condition("triage", "AgentsReady")["message"]

    eventually(is_told)


def test_kubectl_shows_no_difference_and_finds_no_conflict(
    namespace: Namespace, kubernetes: Kubernetes
) -> None:
    """What users applied stays theirs, whatever the operator writes beside it."""
    body = agent_group("triage", namespace.name)
    kubernetes.kubectl("apply", "--filename=-", given=body)
    namespace.await_condition("triage", "TopicsReady", "True")

    kubernetes.kubectl("diff", "--filename=-", given=body)
    kubernetes.kubectl(
        "apply", "--server-side", "--dry-run=server", "--force-conflicts", "--filename=-", given=body
    )
    namespace.kubectl("scale", "agentgroup/triage", "--replicas=3")
    kubernetes.kubectl("apply", "--filename=-", given=body)
    eventually(lambda: namespace.expect("Deployment", "triage-workers")["spec"]["replicas"] == 2)


@pytest.fixture
def rules(kubernetes: Kubernetes) -> Iterator[list[Any]]:
    """Return the operator's rules; what the test takes from them it gets back."""
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ROLE}"
    kept: list[Any] = kubernetes.read(path)["rules"]
    yield kept
    kubernetes.patch(path, {"rules": kept})


def may_make_policies(namespace: Namespace, kubernetes: Kubernetes) -> bool:
    """Ask the API server whether the operator may; what it was told of roles it uses a moment later."""
    wish = {"namespace": namespace.name, "verb": "patch", "group": "networking.k8s.io"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": USER, "resourceAttributes": {**wish, "resource": "networkpolicies"}},
    }
    answer = kubernetes.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def test_one_kind_that_is_forbidden_stops_no_other(
    namespace: Namespace, kubernetes: Kubernetes, rules: list[Any]
) -> None:
    """It is said, with the right that is missing; agents run all the same, and granting it is enough."""
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ROLE}"
    fewer = [
        {**rule, "verbs": ["list", "watch"]} if rule["resources"] == ["networkpolicies"] else rule
        for rule in rules
    ]
    kubernetes.patch(path, {"rules": fewer})
    eventually(lambda: not may_make_policies(namespace, kubernetes))
    namespace.apply(agent_group("triage", namespace.name))

    message = namespace.await_condition("triage", "AgentsReady", "False", "NotAuthorized")
    assert "NetworkPolicy 'triage-workers'" in message
    assert namespace.expect("Deployment", "triage-workers")
    kubernetes.patch(path, {"rules": rules})
    eventually(lambda: namespace.read("NetworkPolicy", "triage-workers"))
    namespace.await_condition("triage", "AgentsReady", "False", "RollingOut")
