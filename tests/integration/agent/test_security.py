"""Real agents at a broker that trusts nobody, with exactly the rights that docs/operations.md lists."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from certificates import Authority
from integration.agent.lanes import KafkaLane, expected
from integration.servers import eventually
from principals import grant, rights_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.secured import SecuredBroker

Json = dict[str, Any]


class SecuredLane(KafkaLane):
    """A lane whose agents must prove who they are; the test itself uses the listener that trusts it."""

    def __init__(self, broker: SecuredBroker, folder: Path) -> None:
        super().__init__(broker.bootstrap_servers, f"lane-{uuid.uuid4().hex[:8]}", folder, partitions=2)
        self.broker = broker
        self.user = f"user-{self.name}"
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self.put("ca.crt", broker.authority.certificate)

    def put(self, file: str, content: str) -> str:
        """Write what would be a key of a Secret; return its path."""
        path = self.secrets / file
        path.write_text(content)
        return str(path)

    def lane_file(self, handler: str, **delivery: object) -> Json:
        return {
            **super().lane_file(handler, **delivery),
            "bootstrapServers": self.servers,
            "security": {
                "authentication": self.authentication,
                "tls": {"caFile": str(self.secrets / "ca.crt")},
            },
        }

    servers: str
    authentication: Json | None

    def use_scram(self, password: str, *, is_right: bool = True) -> None:
        self.broker.set_password(self.user, password if is_right else f"not {password}")
        self.servers = self.broker.scram
        path = self.put("password", f"{password}\n")
        self.authentication = {"type": "scram-sha-512", "username": self.user, "passwordFile": path}

    def use_certificate(self, authority: Authority) -> None:
        pair = authority.issue(self.user)
        self.servers = self.broker.mtls
        self.authentication = {
            "type": "mtls",
            "certificateFile": self.put("tls.crt", pair.certificate),
            "keyFile": self.put("tls.key", pair.key),
        }

    def use_token(self) -> None:
        self.broker.provider.clients[self.user] = "s3cret"
        self.servers = self.broker.tokens
        self.authentication = {
            "type": "oauthbearer",
            "tokenEndpointUri": self.broker.provider.endpoint,
            "clientId": self.user,
            "clientSecretFile": self.put("client-secret", "s3cret\n"),
            "scope": "",
        }

    def names(self) -> dict[str, list[str]]:
        """Return what stands for each word of the documents' table."""
        return {
            "the inbox": [self.tasks],
            "what it writes": [self.results, self.dead_letters],
            "its lane": [self.name],
            "`<group>/*`": [f"{self.name}/*"],
        }

    def rights(self) -> list[Any]:
        """Return exactly what the documents say that an agent needs."""
        return rights_of("An agent", self.user, self.names())


@pytest.fixture
def lane(secured_broker: SecuredBroker, tmp_path: Path) -> Iterator[SecuredLane]:
    """Return a lane whose topics exist and whose user has no right yet."""
    lane = SecuredLane(secured_broker, tmp_path)
    lane.create()
    try:
        yield lane
    finally:
        lane.kill()


@pytest.mark.parametrize(
    ("way", "guarantee"),
    [
        ("scram", "AtLeastOnce"),
        ("certificate", "AtLeastOnce"),
        ("token", "AtLeastOnce"),
        ("scram", "ExactlyOnce"),
    ],
)
def test_an_agent_works_with_exactly_its_rights(lane: SecuredLane, way: str, guarantee: str) -> None:
    """Every task is answered, a bad one becomes a dead letter, and the end is clean."""
    lane.broker.allow(*lane.rights())
    match way:
        case "scram":
            lane.use_scram("s3cret")
        case "certificate":
            lane.use_certificate(lane.broker.authority)
        case "token":
            lane.use_token()
    lane.feed(20)
    lane.feed(1, start=20, failures=-1)
    lane.flush()
    worker = lane.worker("one", guarantee=guarantee)

    lane.await_done()
    assert lane.answers() == expected(20)
    assert len(lane.read(lane.dead_letters)) == 1
    assert worker.events("cannot see the group's members, joining") == []
    assert worker.stop() == 0


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("password", "invalid credentials"),
        ("authority", "broker certificate could not be verified"),
        ("certificate", "certificate unknown"),
    ],
)
def test_an_agent_that_is_refused_says_why_and_keeps_trying(lane: SecuredLane, way: str, words: str) -> None:
    """In its log and its readiness; once the cause is mended, it works without a restart of ours."""
    lane.broker.allow(*lane.rights())
    lane.use_scram("s3cret", is_right=way != "password")
    if way == "authority":
        lane.put("ca.crt", Authority().certificate)
    if way == "certificate":
        lane.use_certificate(Authority())
    lane.feed(5)
    lane.flush()
    worker = lane.worker("one")

    def says_why() -> bool:
        worker.check()
        return any(words in line["error"] for line in worker.events("Kafka reports an error"))

    def is_unready_for_that() -> bool:
        status, body = worker.get("readyz")
        assert status == 503
        return words in " ".join(body["reasons"])

    eventually(says_why)
    eventually(is_unready_for_that)
    said = [line for line in worker.events("Kafka reports an error") if words in line["error"]]
    assert len(said) <= 2  # and not each second: only what is new is logged
    assert worker.get("healthz")[0] == 200
    if way == "password":
        lane.use_scram("s3cret")
        lane.await_done()
        assert lane.answers() == expected(5)


@pytest.mark.parametrize(("kind", "of"), [("group", "its lane"), ("topic", "the inbox")])
def test_an_agent_that_may_not_read_says_so_and_begins_when_it_may(
    lane: SecuredLane, kind: str, of: str
) -> None:
    """It needs no restart."""
    lane.use_scram("s3cret")
    missing = [grant(lane.user, kind, name, "Read") for name in lane.names()[of]]
    lane.broker.allow(*(right for right in lane.rights() if right not in missing))
    lane.feed(5)
    lane.flush()
    worker = lane.worker("one")

    def says_why() -> bool:
        worker.check()
        return any(
            "authorization failed" in line["error"] for line in worker.events("Kafka reports an error")
        )

    eventually(says_why)
    assert worker.get("readyz")[0] == 503
    lane.broker.allow(*missing)
    lane.await_done()
    assert lane.answers() == expected(5)


def test_an_agent_that_may_not_write_any_more_keeps_its_records(lane: SecuredLane) -> None:
    """Nothing is committed that could not be answered, and granted again, it goes on."""
    lane.use_scram("s3cret")
    lane.broker.allow(*lane.rights())
    worker = lane.worker("one")
    lane.feed(5)
    lane.flush()
    lane.await_done()
    lost = [grant(lane.user, "topic", name, "Write") for name in lane.names()["what it writes"]]
    lane.broker.forbid(*lost)
    lane.feed(5, start=5)
    lane.flush()

    eventually(lambda: worker.events("cannot write, the record's key waits"))
    assert sum(lane.committed().values()) == 5
    lane.broker.allow(*lost)
    lane.await_done()
    assert lane.answers() == expected(10)


def test_an_agent_that_may_write_nothing_ends_and_says_so(lane: SecuredLane) -> None:
    """Kafka gives it no producer at all; the kubelet starts it again, and its pod says why it ended."""
    lane.use_scram("s3cret")
    writes = [grant(lane.user, "topic", name, "Write") for name in lane.names()["what it writes"]]
    lane.broker.allow(*(right for right in lane.rights() if right not in writes))
    worker = lane.worker("one")

    eventually(lambda: worker.pid is None)
    assert "Cluster authorization failed" in json.loads(worker.termination_log.read_text())["error"]
