"""An operator with credentials of its own, and what resources at a secured broker are made of."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, TopicPartition
from integration.operator.operators import Namespace, Operator
from principals import rights_of

if TYPE_CHECKING:
    from pathlib import Path

    from integration.secured import SecuredBroker
    from integration.servers import Kubernetes

Json = dict[str, Any]
USER, PASSWORD = "operator", "s3cret"


class SecuredOperator(Operator):
    """An operator that is `USER` towards the broker, by SCRAM over TLS."""

    def __init__(self, kubernetes: Kubernetes, broker: SecuredBroker, folder: Path) -> None:
        self._secret = folder / "secrets" / "kafka"
        self._secret.mkdir(parents=True)
        self.broker = broker
        authentication = {
            "type": "scram-sha-512",
            "username": USER,
            "password": {"secret": "kafka", "key": "password"},
        }
        super().__init__(
            kubernetes,
            broker,
            folder,
            {
                "KAFLEET_BOOTSTRAP_SERVERS": broker.scram,
                "KAFLEET_KAFKA_AUTHENTICATION": json.dumps(authentication),
                "KAFLEET_KAFKA_TLS": json.dumps({"ca": {"secret": "kafka", "key": "ca.crt"}}),
                "KAFLEET_SECRETS_FOLDER": str(folder / "secrets"),
            },
        )
        (self._secret / "ca.crt").write_text(broker.authority.certificate)
        self.know(PASSWORD)
        broker.set_password(USER, PASSWORD)

    def know(self, password: str) -> None:
        """Give the operator another password, as the kubelet would put it into its pod."""
        (self._secret / "password").write_text(password)


def operator_rights(user: str, namespace: Namespace) -> list[Any]:
    every = [f"{namespace.name}.*"]
    topics = ("every topic of a fleet", "every managed topic", "every inbox")
    names = (*topics, "every group of a fleet", "`<group>/*`")
    return rights_of("The operator", user, dict.fromkeys(names, every))


def secret(name: str, namespace: Namespace, **values: str) -> Json:
    encoded = {
        key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in values.items()
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace.name},
        "data": encoded,
    }


def allow_secrets(namespace: Namespace) -> None:
    """Let the operator follow Secrets of the namespace."""
    operator = "--serviceaccount=kafleet-system:kafleet"
    namespace.kubectl("create", "role", "secrets", "--verb=get,list,watch", "--resource=secrets")
    namespace.kubectl("create", "rolebinding", "secrets", "--role=secrets", operator)


def by_token(broker: SecuredBroker, client: str) -> Json:
    """Return a connection whose client secret is the key `id` of the Secret `triage`."""
    return {
        "bootstrapServers": broker.tokens,
        "authentication": {
            "type": "oauthbearer",
            "oauthbearer": {
                "tokenEndpointUri": broker.provider.endpoint,
                "clientId": client,
                "clientSecret": {"secret": "triage", "key": "id"},
            },
        },
        "tls": {"ca": {"secret": "triage", "key": "ca.crt"}},
    }


def make_group(broker: SecuredBroker, group: str, topic: str) -> None:
    """Make a consumer group, so that there is something to see and to delete."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
    consumer.close()
