"""The operator as a process of its own, with the rights that the chart grants, against real servers."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final

import yaml
from confluent_kafka import TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from integration.ports import free_ports
from integration.servers import (
    DEADLINE_SECONDS,
    PATIENCE_SECONDS,
    PROJECT,
    Broker,
    Kubernetes,
    Process,
    eventually,
    local_cluster,
)
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Json = dict[str, Any]

SYSTEM: Final = "kafleet-system"
SECRETS_ROLE: Final = f"{SYSTEM}:kafleet:secrets"
USER: Final = f"system:serviceaccount:{SYSTEM}:kafleet"
WRITES: Final = {"create", "update", "patch", "delete", "deletecollection"}
CHART_VALUES: Final = {
    "image": {"repository": "registry.test/operator", "tag": "1"},
    "agentImage": {"repository": "registry.test/agent", "tag": "1"},
    "kafka": {"bootstrapServers": "kafka:9092"},
}
PATHS: Final = {
    "AgentGroup": "apis/kafleet.dev/v1alpha1/namespaces/{}/agentgroups",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Pod": "api/v1/namespaces/{}/pods",
    "Secret": "api/v1/namespaces/{}/secrets",
    "ResourceQuota": "api/v1/namespaces/{}/resourcequotas",
}
OWNED: Final = ("ServiceAccount", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy", "Deployment")


class Operator:
    """`python -m kafleet_operator`, impatient, for all namespaces; `environment` goes over the usual one."""

    def __init__(
        self,
        kubernetes: Kubernetes,
        broker: Broker,
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._kubernetes = kubernetes
        (self._port,) = free_ports(1)
        self.process = Process(
            "operator",
            [sys.executable, "-W", "error", "-m", "kafleet_operator"],
            folder,
            {
                "KUBECONFIG": str(_log_in(kubernetes, folder)),
                "KAFLEET_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                "KAFLEET_AGENT_IMAGE": "registry.test/agent:1",
                "KAFLEET_OBSERVE_SECONDS": "0.5",
                "KAFLEET_RESYNC_SECONDS": "5",
                "KAFLEET_HTTP_PORT": str(self._port),
                "KAFLEET_SERVICE_ACCOUNT": f"{SYSTEM}:kafleet",
                "KAFLEET_SECRETS_ROLE": SECRETS_ROLE,
                **(environment or {}),
            },
        )

    def start(self) -> None:
        """Start the operator if it does not run, and wait until it has listed everything."""
        if self.process.pid is None:
            self.process.start()
        eventually(self.is_ready)

    def kill(self) -> None:
        self.process.kill()

    def is_healthy(self) -> bool:
        return self._is_well("/healthz")

    def is_ready(self) -> bool:
        return self._is_well("/readyz")

    def metrics(self, **labels: str) -> dict[str, float]:
        """Return the value of every sample with these labels; the rest of its labels stand behind its name.

        Like `kafleet_lane_lag_records lane=workers`, or without a rest `kafleet_lane_lag_records`.
        """
        found = {}
        for family in text_string_to_metric_families(self.scrape()):
            for sample in family.samples:
                if labels.items() <= sample.labels.items():
                    rest = sorted(sample.labels.items() - labels.items())
                    found[" ".join([sample.name, *(f"{name}={value}" for name, value in rest)])] = (
                        sample.value
                    )
        return found

    def scrape(self) -> str:
        status, text = self._get("/metrics")
        assert status == http.HTTPStatus.OK, text
        return text

    def _is_well(self, path: str) -> bool:
        self.process.check()
        with suppress(OSError):
            return self._get(path)[0] == http.HTTPStatus.OK
        return False

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
        with closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def writes(self) -> list[str]:
        """Return the requests that change something which the operator has made so far."""
        return [
            f"{event['verb']} {event['requestURI']} {event['responseStatus']['code']}"
            for event in self._kubernetes.requests_of(USER)
            if event["verb"] in WRITES
        ]

    def requests(self, namespace: str, user_agent: str = "") -> list[tuple[str, str, str]]:
        """Return (verb, resource or resource/subresource, name) of each request about a namespace so far."""
        return [
            (
                event["verb"],
                "/".join(filter(None, (about["resource"], about.get("subresource")))),
                about.get("name", ""),
            )
            for event in self._kubernetes.requests_of(USER)
            if (about := event.get("objectRef", {})).get("namespace") == namespace
            and event["userAgent"].startswith(user_agent)
        ]

    def resyncs(self) -> int:
        """Return how often the operator has listed everything so far."""
        requests = self._kubernetes.requests_of(USER)
        return sum(
            event["verb"] == "list"
            and event["objectRef"]["resource"] == "agentgroups"
            and event["userAgent"].startswith("kafleet-operator/")
            for event in requests
        )

    def log(self) -> list[Json]:
        """Return the log's lines; fails if one of them is no JSON."""
        return [json.loads(line) for line in self.process.lines()]


class Namespace:
    """One namespace of the cluster, and the topics of its fleets."""

    def __init__(self, kubernetes: Kubernetes, broker: Broker, name: str) -> None:
        self._kubernetes = kubernetes
        self.name = name
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        kubernetes.create("/api/v1/namespaces", namespace)

    def apply(self, *bodies: Json) -> None:
        """Apply objects on the server's side, strictly and by force."""
        how = "fieldManager=test&force=true&fieldValidation=Strict"
        for body in bodies:
            path = f"/{PATHS[body['kind']].format(self.name)}/{body['metadata']['name']}?{how}"
            status, answer = self._kubernetes.send(
                "PATCH", path, json.dumps(body), "application/apply-patch+yaml"
            )
            assert status in {http.HTTPStatus.OK, http.HTTPStatus.CREATED}, answer

    def leave(self) -> None:
        """Delete what is in Kubernetes, in the background.

        Fleets are not left to the namespace's controller: it takes a kind that is not served for a moment,
        because its definition has changed, for one without objects, and fleets without a namespace stay.
        """
        for path in (f"/{PATHS['AgentGroup'].format(self.name)}", f"/api/v1/namespaces/{self.name}"):
            status, answer = self._kubernetes.send("DELETE", path)
            assert status in {
                http.HTTPStatus.OK,
                http.HTTPStatus.ACCEPTED,
                http.HTTPStatus.NOT_FOUND,
                http.HTTPStatus.CONFLICT,
            }, answer

    def kubectl(self, *arguments: str) -> str:
        return self._kubernetes.kubectl(f"--namespace={self.name}", *arguments)

    def read(self, kind: str, name: str) -> Json | None:
        """Return an object, None if there is none."""
        found: Json | None = self._kubernetes.read(f"/{PATHS[kind].format(self.name)}/{name}")
        return found

    def expect(self, kind: str, name: str) -> Json:
        """Return an object; AssertionError if there is none."""
        found = self.read(kind, name)
        assert found, f"no {kind} {name!r} yet"
        return found

    def every(self, kind: str) -> list[Json]:
        items: list[Json] = self._kubernetes.read(f"/{PATHS[kind].format(self.name)}")["items"]
        return items

    def patch(self, kind: str, name: str, body: Json, subresource: str = "") -> None:
        path = f"/{PATHS[kind].format(self.name)}/{name}"
        self._kubernetes.patch(path + (f"/{subresource}" if subresource else ""), body)

    def events_about(self, name: str) -> list[Json]:
        path = f"/apis/events.k8s.io/v1/namespaces/{self.name}/events"
        return [each for each in self._kubernetes.read(path)["items"] if each["regarding"]["name"] == name]

    def condition(self, name: str, kind: str) -> Json:
        """Return a condition of an AgentGroup; AssertionError if it is not reported yet."""
        conditions = self.expect("AgentGroup", name).get("status", {}).get("conditions", [])
        found: Json | None = next((each for each in conditions if each["type"] == kind), None)
        assert found, f"no condition {kind} yet"
        return found

    def await_condition(
        self,
        name: str,
        kind: str,
        status: str,
        reason: str | None = None,
        *,
        seconds: float = DEADLINE_SECONDS,
    ) -> str:
        """Wait until a condition of an AgentGroup is as said, and return its message."""

        def look() -> str:
            found = self.condition(name, kind)
            assert (found["status"], found["reason"]) == (status, reason or found["reason"]), found
            return str(found["message"]) or "-"

        return eventually(look, seconds=seconds)

    def await_deployment(self, name: str) -> Json:
        return eventually(lambda: self.read("Deployment", name))

    def topics(self) -> dict[str, Any]:
        """Return the topics whose names begin with the namespace's, with ids and partitions."""
        names = [
            name
            for name in self.admin.list_topics(timeout=PATIENCE_SECONDS).topics
            if name.startswith(self.name)
        ]
        if not names:
            return {}
        described = self.admin.describe_topics(TopicCollection(names))
        return {name: future.result() for name, future in described.items() if not future.exception()}

    def overrides(self, topic: str) -> dict[str, str]:
        """Return a topic's own configuration."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = self.admin.describe_configs([resource])[resource].result().values()
        return {entry.name: entry.value for entry in entries if not entry.is_default and entry.source == 1}

    def override(self, topic: str, values: Mapping[str, str]) -> None:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in values.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result()

    def create_topic(self, name: str, partitions: int) -> None:
        self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result()

    def delete_topic(self, name: str) -> None:
        self.admin.delete_topics([name])[name].result()


def agent_group(name: str, namespace: str, spec: Mapping[str, Any] | None = None, **agent: object) -> Json:
    """Return an AgentGroup of two workers and small topics; `spec` and `agent` add to it or replace."""
    topics = {role: {"partitions": 4} for role in ("tasks", "results", "deadLetters")}
    workers = {"replicas": 2, "agent": {"handler": "triage:agent", **agent}}
    return {
        "apiVersion": "kafleet.dev/v1alpha1",
        "kind": "AgentGroup",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"workers": workers, **topics, **(spec or {})},
    }


def config_map(name: str, namespace: str, data: dict[str, str]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def install(kubernetes: Kubernetes) -> None:
    """Install the resource definitions, and the account with the rights that the chart grants."""
    definitions = [str(path) for path in (PROJECT / "crds").glob("*.yaml")]
    kubernetes.kubectl("apply", "--server-side", *(f"--filename={path}" for path in definitions))
    kubernetes.kubectl("create", "namespace", SYSTEM)
    rendered = subprocess.run(
        [
            *(local_cluster("bin") / "helm", "template", "kafleet", PROJECT / "charts" / "kafleet"),
            *("--namespace", SYSTEM, "--values", "-"),
        ],
        input=yaml.safe_dump(CHART_VALUES),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    objects = [body for body in yaml.safe_load_all(rendered.stdout) if body]
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding"}
    kubernetes.kubectl(
        "apply", "--filename=-", given=_list([body for body in objects if body["kind"] in kinds])
    )
    kubernetes.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")


def _log_in(kubernetes: Kubernetes, folder: Path) -> Path:
    """Write a kubeconfig of the operator's own account."""
    token = kubernetes.kubectl(f"--namespace={SYSTEM}", "create", "token", "kafleet", "--duration=8h").strip()
    kubeconfig = folder / "operator.kubeconfig"
    cluster = {"server": kubernetes.server, "certificate-authority": str(kubernetes.certificate_authority)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "operator"}}],
        "current-context": "test",
    }
    kubeconfig.write_text(yaml.safe_dump(content))
    return kubeconfig


def _list(bodies: Any) -> Json:  # noqa: ANN401 - any sequence of objects
    return {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
