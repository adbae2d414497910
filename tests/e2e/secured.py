"""A broker of the tests' own in the local cluster that trusts nobody who comes by its SCRAM listener."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from certificates import Authority
from demo.broker import Broker
from principals import Principals

if TYPE_CHECKING:
    from demo.cluster import Cluster, Json
    from e2e.fleets import Fleet

NAME = "secured-kafka"
NODE_PORT = 30192
LISTENERS = {"CONTROLLER": 9093, "BROKER": 9091, "CLUSTER": 9092, "HOST": 9094, "SECURE": 9095}
LOCAL = ("CONTROLLER", "BROKER")  # the node's calls to itself


class SecuredBroker(Principals):
    """The local broker's image with SASL_SSL and the standard authorizer, in a fleet's namespace.

    The test uses the listener `HOST`, at which everything is allowed; `servers` is what fleets are given.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.authority = Authority()
        self.servers = f"{NAME}.{fleet.namespace}.svc:{LISTENERS['SECURE']}"
        host = fleet.broker.address.rpartition(":")[0]
        self.bootstrap_servers = f"{host}:{NODE_PORT}"

    def start(self) -> None:
        """Start the broker and wait until it serves."""
        pair = self.authority.issue("broker", self.servers.partition(":")[0])
        objects = (
            secret(f"{NAME}-tls", {"broker.pem": pair.key + pair.certificate}),
            self._service("ClusterIP", {"port": LISTENERS["SECURE"]}, NAME),
            self._service("NodePort", {"port": LISTENERS["HOST"], "nodePort": NODE_PORT}, f"{NAME}-host"),
            self._deployment(),
        )
        for body in objects:
            self._fleet.apply_object(body)
        self._fleet.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=240s")

    def broker(self) -> Broker:
        """Return the broker as the test sees it."""
        return Broker(self.bootstrap_servers)

    def _settings(self) -> dict[str, str]:
        address = {
            "CONTROLLER": "localhost",
            "BROKER": "localhost",
            "CLUSTER": "localhost",
            "HOST": self.bootstrap_servers.rpartition(":")[0],
            "SECURE": self.servers.partition(":")[0],
        }
        port = LISTENERS | {"HOST": NODE_PORT}
        advertised = [name for name in LISTENERS if name != "CONTROLLER"]
        protocols = dict.fromkeys(LISTENERS, "PLAINTEXT") | {"SECURE": "SASL_SSL"}
        return {
            "listeners": ",".join(
                f"{name}://{'localhost' if name in LOCAL else ''}:{number}"
                for name, number in LISTENERS.items()
            ),
            "advertised.listeners": ",".join(f"{name}://{address[name]}:{port[name]}" for name in advertised),
            "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.secure.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": "/etc/kafka/broker.pem",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
        }

    def _service(self, kind: str, port: Json, name: str) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"type": kind, "selector": {"app": NAME}, "ports": [{"name": "kafka", **port}]},
        }

    def _deployment(self) -> Json:
        """Return the local broker's pod with other settings, and data that goes with it."""
        pod = pod_of_local_broker(self._fleet.cluster)
        (container,) = pod["containers"]
        container["args"] = [
            word for item in self._settings().items() for word in ("--override", "=".join(item))
        ]
        container["ports"] = []
        container["volumeMounts"].append({"name": "tls", "mountPath": "/etc/kafka", "readOnly": True})
        pod["volumes"] = [
            {"name": "tmp", "emptyDir": {}},
            {"name": "data", "emptyDir": {}},
            {"name": "tls", "secret": {"secretName": f"{NAME}-tls", "defaultMode": 0o440}},
        ]
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {
                "selector": {"matchLabels": {"app": NAME}},
                "template": {"metadata": {"labels": {"app": NAME}}, "spec": pod},
            },
        }


def pod_of_local_broker(cluster: Cluster) -> Json:
    found: Json = cluster.read("-n", "kafka", "statefulset/kafka")["spec"]["template"]["spec"]
    return found


def secret(name: str, values: dict[str, str]) -> Json:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
