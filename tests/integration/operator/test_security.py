"""The operator at a broker that trusts nobody: with its own credentials, and with those of resources."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from certificates import Authority
from confluent_kafka import KafkaException, Producer
from integration.conftest import folder
from integration.operator.operators import Namespace, agent_group
from integration.operator.secured_operators import (
    PASSWORD,
    USER,
    SecuredOperator,
    allow_secrets,
    by_token,
    make_group,
    operator_rights,
    secret,
)
from integration.servers import eventually
from principals import grant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.operator.operators import Operator
    from integration.secured import SecuredBroker
    from integration.servers import Kubernetes

Json = dict[str, Any]


@pytest.fixture(scope="module")
def secured(
    process: Operator, kubernetes: Kubernetes, secured_broker: SecuredBroker
) -> Iterator[SecuredOperator]:
    """Run an operator at the secured broker, in place of the one that the other tests share."""
    process.kill()
    with folder() as path:
        operator = SecuredOperator(kubernetes, secured_broker, Path(path))
        try:
            operator.start()
            yield operator
        finally:
            operator.kill()


@pytest.fixture
def namespace(kubernetes: Kubernetes, secured_broker: SecuredBroker) -> Iterator[Namespace]:
    """Return a namespace in which the operator has exactly the rights in Kafka that are documented."""
    space = Namespace(kubernetes, secured_broker, f"t{uuid.uuid4().hex[:8]}")
    secured_broker.allow(*operator_rights(USER, space))
    yield space
    space.leave()


def test_the_documented_rights_are_enough(
    secured: SecuredOperator, namespace: Namespace, secured_broker: SecuredBroker
) -> None:
    """To make, grow, configure and delete topics, to read groups, and to delete them."""
    tasks = f"{namespace.name}.triage.tasks"
    namespace.apply(agent_group("triage", namespace.name, {"deletionPolicy": "Delete"}))
    namespace.await_condition("triage", "TopicsReady", "True")
    make_group(secured_broker, f"{namespace.name}.triage.workers", tasks)
    grown = {"partitions": 6, "onGrowth": "Reorder", "config": {"retention.ms": "1000000"}}
    namespace.patch("AgentGroup", "triage", {"spec": {"tasks": grown}})

    eventually(lambda: len(namespace.topics()[tasks].partitions) == 6)
    eventually(lambda: namespace.overrides(tasks).get("retention.ms") == "1000000")
    namespace.await_condition("triage", "TopicsReady", "True")
    eventually(lambda: namespace.expect("AgentGroup", "triage")["status"]["lag"] == 0)
    lost = namespace.topics()[tasks].topic_id
    namespace.delete_topic(tasks)
    eventually(lambda: tasks in (found := namespace.topics()) and found[tasks].topic_id != lost)
    namespace.await_condition("triage", "TopicsReady", "True")
    namespace.kubectl("delete", "agentgroup/triage", "--timeout=120s")
    assert namespace.topics() == {}
    assert secured.is_healthy()


@pytest.mark.parametrize(
    ("operation", "implied_by"),
    [("Describe", ["Read", "Alter", "Delete"]), ("DescribeConfigs", ["AlterConfigs"])],
)
def test_a_missing_right_to_see_topics_is_named_and_healed(
    secured: SecuredOperator, namespace: Namespace, operation: str, implied_by: list[str]
) -> None:
    """With the topic and the operation; once it is granted, the fleet is ready by itself."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_condition("triage", "TopicsReady", "True")
    rights = [grant(USER, "topic", f"{namespace.name}.*", each) for each in (operation, *implied_by)]
    secured.broker.forbid(*rights)

    message = namespace.await_condition("triage", "TopicsReady", "Unknown", "NotAuthorized")
    assert message.startswith(f"topic '{namespace.name}.triage.")
    assert f"no ACL allows the operator {operation}; grant it" in message
    secured.broker.allow(*rights)
    namespace.await_condition("triage", "TopicsReady", "True")
    assert secured.is_healthy()


@pytest.mark.parametrize(
    ("operation", "change"),
    [
        ("Create", {}),
        ("Alter", {"partitions": 5, "onGrowth": "Reorder"}),
        ("AlterConfigs", {"config": {"retention.ms": "1000000"}}),
    ],
)
def test_a_missing_right_to_change_topics_is_named_and_healed(
    secured: SecuredOperator, namespace: Namespace, operation: str, change: Json
) -> None:
    """What exists goes on as it is."""
    fleet = agent_group("triage", namespace.name)
    if change:
        namespace.apply(fleet)
        namespace.await_condition("triage", "TopicsReady", "True")
    right = grant(USER, "topic", f"{namespace.name}.*", operation)
    secured.broker.forbid(right)
    fleet["spec"]["tasks"] |= change
    namespace.apply(fleet)

    message = namespace.await_condition("triage", "TopicsReady", "False", "NotAuthorized")
    assert (
        f"topic '{namespace.name}.triage.tasks': no ACL allows the operator {operation}; grant it" in message
    )
    secured.broker.allow(right)
    namespace.await_condition("triage", "TopicsReady", "True")


def test_a_missing_right_to_delete_topics_is_named_and_healed(
    secured: SecuredOperator, namespace: Namespace
) -> None:
    """The resource stays until they are gone."""
    namespace.apply(agent_group("triage", namespace.name, {"deletionPolicy": "Delete"}))
    namespace.await_condition("triage", "TopicsReady", "True")
    right = grant(USER, "topic", f"{namespace.name}.*", "Delete")
    secured.broker.forbid(right)
    namespace.kubectl("delete", "agentgroup/triage", "--wait=false")

    message = eventually(
        lambda: [
            each["message"]
            for each in namespace.expect("AgentGroup", "triage")["status"]["conditions"]
            if "no ACL allows the operator Delete; grant it" in each["message"]
        ]
    )
    assert f"topic '{namespace.name}.triage." in message[0]
    secured.broker.allow(right)
    eventually(lambda: namespace.read("AgentGroup", "triage") is None)
    assert namespace.topics() == {}


def test_a_missing_right_on_groups_is_named_and_healed(
    secured: SecuredOperator, namespace: Namespace, secured_broker: SecuredBroker
) -> None:
    """Topics are ready all the same."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_condition("triage", "Progressing", "True")
    # Read and Delete imply Describe.
    rights = [grant(USER, "group", f"{namespace.name}.*", each) for each in ("Describe", "Read", "Delete")]
    secured_broker.forbid(*rights)

    message = namespace.await_condition("triage", "Progressing", "Unknown", "NotAuthorized")
    assert f"'{namespace.name}.triage.workers'" in message
    assert namespace.condition("triage", "TopicsReady")["status"] == "True"
    secured_broker.allow(*rights)
    namespace.await_condition("triage", "Progressing", "True")
    assert secured.is_healthy()


def test_a_missing_right_on_transactional_ids_is_named_and_healed(
    secured: SecuredOperator, namespace: Namespace, secured_broker: SecuredBroker
) -> None:
    """Brokers leave what may not be seen out of their lists without a word: the operator asks."""
    # Write implies Describe.
    describe, write = (
        grant(USER, "transactional id", f"{namespace.name}.*", each) for each in ("Describe", "Write")
    )
    secured_broker.forbid(describe, write)
    namespace.apply(agent_group("triage", namespace.name, {"delivery": {"guarantee": "ExactlyOnce"}}))
    ids = f"{namespace.name}.triage.workers/"

    named = f"transactional ids '{ids}*': no ACL allows the operator Describe; grant it"
    namespace.await_condition("triage", "AgentsReady", "Unknown", "NotAuthorized")
    # For a moment it may still name what another test did to the credentials.
    eventually(lambda: namespace.condition("triage", "AgentsReady")["message"].startswith(named))
    secured_broker.allow(describe)
    namespace.await_condition("triage", "AgentsReady", "False", "RollingOut")
    producer = Producer(
        {
            "bootstrap.servers": secured_broker.bootstrap_servers,
            "transactional.id": f"{ids}gone",
            "transaction.timeout.ms": 600_000,  # longer than the test may take
            "log_level": 0,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(f"{namespace.name}.triage.results", b"{}")
    assert producer.flush(30) == 0
    message = namespace.await_condition("triage", "AgentsReady", "False", "NotAuthorized")
    assert message.startswith(f"transactional id '{ids}gone': no ACL allows the operator Write; grant it")

    secured_broker.allow(write)
    namespace.await_condition("triage", "AgentsReady", "False", "RollingOut")
    with pytest.raises(KafkaException, match="fenced"):
        producer.commit_transaction(30)
    assert secured.is_healthy()


def test_a_new_password_is_taken_up_without_a_restart(
    secured: SecuredOperator, namespace: Namespace, secured_broker: SecuredBroker
) -> None:
    """Until the operator knows it, it says that it is refused, and as whom; agents are left alone."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_condition("triage", "TopicsReady", "True")
    pid = secured.process.pid
    # Connections that are open stay open: only a broker that comes back asks who one is.
    secured_broker.set_password(USER, "another")
    secured_broker.restart()
    message = namespace.await_condition("triage", "TopicsReady", "Unknown", "NotAuthorized")
    assert message == (
        f"Kafka at '{secured_broker.scram}' refuses the operator: user '{USER}': invalid credentials; "
        "check the chart's kafka.authentication"
    )
    secured.know("another\n")

    namespace.await_condition("triage", "TopicsReady", "True")
    assert secured.process.pid == pid
    secured_broker.set_password(USER, PASSWORD)
    secured.know(PASSWORD)


def test_a_resource_with_brokers_of_its_own_is_served_as_itself(
    secured: SecuredOperator, namespace: Namespace, secured_broker: SecuredBroker
) -> None:
    """By the credentials in its namespace; a new certificate is taken up when the Secret has it."""
    allow_secrets(namespace)
    user = f"user-{namespace.name}"
    secured_broker.forbid(*operator_rights(USER, namespace))
    secured_broker.allow(*operator_rights(user, namespace))
    strange, good = Authority().issue(user), secured_broker.authority.issue(user)
    ca = secured_broker.authority.certificate
    connection = {
        "bootstrapServers": secured_broker.mtls,
        "authentication": {"type": "mtls", "certificateAndKey": {"secret": "triage"}},
        "tls": {"ca": {"secret": "triage", "key": "ca.crt"}},
    }
    namespace.apply(
        secret("triage", namespace, tls_crt=strange.certificate, tls_key=strange.key, ca_crt=ca),
        agent_group("triage", namespace.name, {"connection": connection}),
    )

    message = namespace.await_condition("triage", "TopicsReady", "Unknown", "NotAuthorized")
    assert "the brokers do not accept the client certificate" in message
    assert "connection.authentication.certificateAndKey" in message
    namespace.apply(secret("triage", namespace, tls_crt=good.certificate, tls_key=good.key, ca_crt=ca))
    namespace.await_condition("triage", "TopicsReady", "True")
    namespace.await_condition("triage", "Progressing", "True")
    for where in (secured.process.log.read_text(), namespace.kubectl("get", "agentgroup", "-o", "yaml")):
        assert good.key.splitlines()[1] not in where


def test_a_resource_may_prove_itself_by_tokens(
    secured: SecuredOperator, namespace: Namespace, secured_broker: SecuredBroker
) -> None:
    """Both of the operator's clients fetch them from the provider that the resource names."""
    allow_secrets(namespace)
    user = f"user-{namespace.name}"
    secured_broker.provider.clients[user] = PASSWORD
    secured_broker.forbid(*operator_rights(USER, namespace))
    secured_broker.allow(*operator_rights(user, namespace))
    namespace.apply(
        secret("triage", namespace, id=PASSWORD, ca_crt=secured_broker.authority.certificate),
        agent_group("triage", namespace.name, {"connection": by_token(secured_broker, user)}),
    )

    namespace.await_condition("triage", "TopicsReady", "True")
    namespace.await_condition("triage", "Progressing", "True")
    assert secured.is_healthy()


def test_a_namespace_goes_although_its_credentials_go_first(
    secured: SecuredOperator, namespace: Namespace, secured_broker: SecuredBroker
) -> None:
    """Nobody could clean up any more: what stays in Kafka is in the operator's log."""
    allow_secrets(namespace)
    user = f"user-{namespace.name}"
    secured_broker.provider.clients[user] = PASSWORD
    secured_broker.allow(*operator_rights(user, namespace))
    spec = {"connection": by_token(secured_broker, user), "deletionPolicy": "Delete"}
    namespace.apply(
        secret("triage", namespace, id=PASSWORD, ca_crt=secured_broker.authority.certificate),
        agent_group("triage", namespace.name, spec),
    )
    namespace.await_condition("triage", "TopicsReady", "True")
    secured.kill()
    namespace.kubectl("delete", "namespace", namespace.name, "--wait=false")
    eventually(lambda: not namespace.kubectl("get", "secret/triage", "--ignore-not-found"))
    secured.start()

    eventually(lambda: namespace.read("AgentGroup", "triage") is None)
    stayed = [line for line in secured.log() if line["event"].startswith("topics and groups stay")]
    assert f"{namespace.name}.triage.tasks" in stayed[-1]["topics"]
    assert set(namespace.topics()) == set(stayed[-1]["topics"])


def test_each_fault_of_a_connection_has_its_own_words(
    secured: SecuredOperator, namespace: Namespace, secured_broker: SecuredBroker
) -> None:
    """Never only that time ran out. Nobody gets the operator's own credentials by naming another address."""
    allow_secrets(namespace)
    ca = {"ca": {"secret": "kafka", "key": "ca.crt"}}
    user = {"type": "scram-sha-512", "username": "nobody", "password": {"secret": "kafka", "key": "password"}}
    elsewhere = secured_broker.scram.replace("127.0.0.1", "localhost")
    namespace.apply(
        secret(
            "kafka",
            namespace,
            password="wrong",
            ca_crt=secured_broker.authority.certificate,
            other_crt=Authority().certificate,
            nonsense="nonsense",
        ),
        secret("triage", namespace, id="wrong", ca_crt=secured_broker.authority.certificate),
    )
    mtls, plaintext = secured_broker.mtls, secured_broker.bootstrap_servers.replace("127.0.0.1", "localhost")
    faults: dict[str, tuple[Json, str, str]] = {
        "password": (
            {
                "bootstrapServers": f"{secured_broker.scram},{secured_broker.scram}",
                "authentication": user,
                "tls": ca,
            },
            "NotAuthorized",
            "user 'nobody': invalid credentials; check connection.authentication",
        ),
        "host": (
            {"bootstrapServers": elsewhere, "authentication": user, "tls": ca},
            "NotAuthorized",
            "the brokers' certificate is not to be trusted; check that connection.tls.ca signed it",
        ),
        "authority": (
            {"bootstrapServers": mtls, "tls": {"ca": {"secret": "kafka", "key": "other.crt"}}},
            "NotAuthorized",
            "the brokers' certificate is not to be trusted; check that connection.tls.ca signed it",
        ),
        "nonsense": (
            {"bootstrapServers": mtls, "tls": {"ca": {"secret": "kafka", "key": "nonsense"}}},
            "NotAuthorized",
            "Kafka's client cannot use connection: ",
        ),
        "token": (
            by_token(secured_broker, "nobody"),
            "NotAuthorized",
            "Failed to acquire SASL OAUTHBEARER token",
        ),
        "nobody": (
            {"bootstrapServers": mtls, "tls": ca},
            "NotAuthorized",
            "the brokers want a client certificate; set connection.authentication of type mtls",
        ),
        "no-tls": (
            {"bootstrapServers": f"{secured_broker.scram},{mtls}"},
            "KafkaUnreachable",
            "ends connections at once; it may want TLS or another type of authentication",
        ),
        "too-much-tls": (
            {"bootstrapServers": plaintext, "tls": ca},
            "KafkaUnreachable",
            "does not speak TLS; remove connection.tls, or name the port that does",
        ),
        "key": (
            {"bootstrapServers": mtls, "tls": {"ca": {"secret": "kafka", "key": "gone"}}},
            "ReferenceNotFound",
            "connection.tls.ca names key 'gone', which Secret 'kafka' does not have; add it",
        ),
        "secret": (
            {"bootstrapServers": mtls, "tls": {"ca": {"secret": "gone", "key": "ca.crt"}}},
            "ReferenceNotFound",
            "connection.tls.ca names Secret 'gone', which does not exist; create it",
        ),
    }
    namespace.apply(
        *(agent_group(name, namespace.name, {"connection": each}) for name, (each, _, _) in faults.items())
    )

    for name, (_, reason, words) in faults.items():
        assert words in namespace.await_condition(name, "TopicsReady", "Unknown", reason), name
        assert namespace.read("Deployment", f"{name}-workers") is None
    assert secured.is_healthy()
