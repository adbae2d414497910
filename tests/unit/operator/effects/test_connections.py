"""One connection in the words of both clients, and clusters that share them."""

from __future__ import annotations

import asyncio
import base64
import gc
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from certificates import Authority
from openid import Provider

from kafleet_operator.effects.connections import kafka_python_settings, librdkafka_settings
from kafleet_operator.effects.kafka import Clusters
from kafleet_operator.effects.secrets import Secrets
from kafleet_operator.effects.tokens import TokenProvider
from kafleet_operator.errors import KafleetError, NotAuthorized, NotFound, ReferenceNotFound
from kafleet_operator.planning.connections import (
    ClientCertificate,
    ClientCredentials,
    Connection,
    Password,
    SecretKey,
    Tls,
)
from kafleet_operator.planning.observations import Unknown

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD, CA = SecretKey("", "kafka", "password", "kafka.password"), SecretKey("", "kafka", "ca.crt")
CERTIFICATE, KEY = SecretKey("", "kafka", "tls.crt"), SecretKey("", "kafka", "tls.key")
THEIRS = SecretKey("support", "triage", "password", "connection.authentication.password")
SCRAM = Password("SCRAM-SHA-512", "triage", PASSWORD)
TOKEN = ClientCredentials("https://sso.example/token", "triage", PASSWORD, "kafka")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_librdkafka_is_told_everything(authority: Authority) -> None:
    pair = authority.issue("triage")
    values = {PASSWORD: "s3cret", CA: "pem", CERTIFICATE: pair.certificate, KEY: pair.key}
    scram = Connection("k:1", SCRAM, Tls(CA))
    mtls = Connection("k:1", ClientCertificate(CERTIFICATE, KEY), Tls())

    assert librdkafka_settings(Connection("k:1"), {}) == {
        "bootstrap.servers": "k:1",
        "security.protocol": "PLAINTEXT",
    }
    assert librdkafka_settings(scram, values) == {
        "bootstrap.servers": "k:1",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "triage",
        "sasl.password": "s3cret",
        "ssl.ca.pem": "pem",
    }
    assert librdkafka_settings(mtls, values) == {
        "bootstrap.servers": "k:1",
        "security.protocol": "SSL",
        "ssl.certificate.pem": pair.certificate,
        "ssl.key.pem": pair.key,
    }
    assert librdkafka_settings(Connection("k:1", TOKEN), values) == {
        "bootstrap.servers": "k:1",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": "https://sso.example/token",
        "sasl.oauthbearer.client.id": "triage",
        "sasl.oauthbearer.client.secret": "s3cret",
        "sasl.oauthbearer.scope": "kafka",
    }


def test_kafka_python_is_told_the_same(authority: Authority) -> None:
    """A certificate and its key are loaded without a file that anybody could read."""
    pair = authority.issue("triage")
    values = {PASSWORD: "s3cret", CA: authority.certificate, CERTIFICATE: pair.certificate, KEY: pair.key}
    mtls = kafka_python_settings(Connection("k:1", ClientCertificate(CERTIFICATE, KEY), Tls(CA)), values)
    token = kafka_python_settings(Connection("k:1", TOKEN, Tls()), values)

    assert kafka_python_settings(Connection("k:1", SCRAM), values) == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "triage",
        "sasl_plain_password": "s3cret",
    }
    assert mtls["security_protocol"] == "SSL"
    context: ssl.SSLContext = mtls["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert [each["subject"] for each in context.get_ca_certs()] == [((("commonName", "test authority"),),)]
    assert (token["security_protocol"], token["sasl_mechanism"]) == ("SASL_SSL", "OAUTHBEARER")


@pytest.mark.parametrize("nonsense", ["nonsense", "-----BEGIN CERTIFICATE-----\n"])
def test_certificates_that_are_none_are_refused_at_once(nonsense: str) -> None:
    """By either client, and with the way out."""
    connection = Connection("k:1", ClientCertificate(CERTIFICATE, KEY), Tls())
    with pytest.raises(NotAuthorized, match=r"the certificates of connection cannot be used: .*; check the"):
        kafka_python_settings(connection, {CERTIFICATE: nonsense, KEY: nonsense})


def test_a_token_is_fetched_once_and_used_while_it_lives() -> None:
    with Provider() as provider:
        provider.clients["triage"] = "s3cret"
        tokens = TokenProvider(ClientCredentials(provider.endpoint, "triage", PASSWORD, "kafka"), "s3cret")

        assert tokens.token() == tokens.token() != ""
    form = {"grant_type": ["client_credentials"], "scope": ["kafka"]}
    assert provider.asked == [("triage:s3cret", form)]


class FakeApi:
    """An API server with one Secret, or none."""

    def __init__(self, data: dict[str, str] | None) -> None:
        self.data = data
        self.reads: list[str] = []

    async def read(self, path: str) -> dict[str, Any]:
        self.reads.append(path)
        if self.data is None:
            raise NotFound(path)
        return {"data": self.data}


def read(key: SecretKey, data: dict[str, str] | None, folder: Path) -> str:
    api: Any = FakeApi(data)
    secrets = Secrets(api, folder)
    values = asyncio.run(secrets.read((key,))) if key.namespace else secrets.read_own((key,))
    return values[key]


def test_secrets_come_from_the_namespace_or_from_the_operators_pod(tmp_path: Path) -> None:
    """Without the line break that files end with."""
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "password").write_text("own\n")
    encoded = base64.b64encode(b"their s3cret\r\n").decode()

    assert read(PASSWORD, None, tmp_path) == "own"
    assert read(THEIRS, {"password": encoded}, tmp_path) == "their s3cret"


@pytest.mark.parametrize(
    ("key", "data", "words"),
    [
        (THEIRS, None, "connection.authentication.password names Secret 'triage', which does not exist"),
        (THEIRS, {}, "names key 'password', which Secret 'triage' does not have; add it"),
        (THEIRS, {"password": ""}, "key 'password' of Secret 'triage' is empty or no UTF-8; give it a value"),
        (THEIRS, {"password": "Cg=="}, "is empty or no UTF-8"),
        (THEIRS, {"password": "/w=="}, "is empty or no UTF-8"),
        (THEIRS, {"password": "?"}, "is empty or no UTF-8"),
        (PASSWORD, {}, "kafka.password: cannot read key 'password' of Secret 'kafka'"),
    ],
)
def test_a_secret_that_cannot_be_used_is_named(
    tmp_path: Path, key: SecretKey, data: dict[str, str] | None, words: str
) -> None:
    with pytest.raises(ReferenceNotFound) as caught:
        read(key, data, tmp_path)
    assert words in str(caught.value)


def clusters(folder: Path, api: FakeApi | None = None) -> Clusters:
    """Return clusters of which `own:1` is the operator's own, with a password."""
    (folder / "kafka").mkdir(exist_ok=True)
    (folder / "kafka" / "password").write_text("own")
    server: Any = api or FakeApi(None)
    return Clusters(Connection("own:1", SCRAM), Secrets(server, folder), observe_seconds=5)


def identities(clusters: Clusters) -> list[tuple[str, tuple[str, ...]]]:
    return [(connection.bootstrap_servers, values) for connection, values in clusters._known]


def test_the_operators_credentials_go_to_its_own_brokers_only(tmp_path: Path) -> None:
    """Another address gets what the resource gives, be it nothing; the own brokers never get that."""

    async def story() -> None:
        known = clusters(tmp_path)
        kept = [
            await known.connect(Connection("own:1", Password("PLAIN", "agents", THEIRS)), {}),
            await known.connect(Connection("own:1"), {}),
            await known.connect(Connection("other:1"), {}),
        ]

        assert kept[0] is kept[1]
        assert sorted(identities(known)) == [("other:1", ()), ("own:1", ("own",))]

    asyncio.run(story())
    gc.collect()


def test_a_new_password_is_a_new_client(tmp_path: Path) -> None:
    """The old one ends with the last who holds it."""

    async def story() -> None:
        known = clusters(tmp_path)
        old = await known.connect(Connection("own:1"), {})
        (tmp_path / "kafka" / "password").write_text("new")
        new = await known.connect(Connection("own:1"), {})

        assert new is not old
        assert await known.connect(Connection("own:1"), {}) is new

    asyncio.run(story())
    gc.collect()


def test_a_secret_is_read_when_it_is_another_one(tmp_path: Path) -> None:
    """Looks at a fleet at rest cost no request; the same content is the same client."""
    api = FakeApi({"password": base64.b64encode(b"s3cret").decode()})
    theirs = Connection("other:1", Password("PLAIN", "triage", THEIRS))

    async def story() -> None:
        known = clusters(tmp_path, api)
        first = await known.connect(theirs, {("Secret", "triage"): {"password": "hash"}})
        assert await known.connect(theirs, {("Secret", "triage"): {"password": "hash"}}) is first
        assert len(api.reads) == 1
        other = await known.connect(theirs, {("Secret", "triage"): {"password": "other hash"}})
        assert other is not first
        assert len(api.reads) == 2

    asyncio.run(story())
    gc.collect()


@pytest.mark.parametrize("reason", ["NotAuthorized", "InternalError"])
def test_a_secret_that_may_not_be_read_is_not_tried(tmp_path: Path, reason: str) -> None:
    """How to allow it is said already, by those who tried."""
    api = FakeApi({})
    seen = {("Secret", "triage"): Unknown(reason, "kubectl create rolebinding")}

    async def story() -> None:
        kafka = await clusters(tmp_path, api).connect(Connection("other:1", tls=Tls(THEIRS)), seen)
        with pytest.raises(KafleetError, match="password: kubectl create rolebinding") as caught:
            await kafka.topics.observe(["topic"], anew=True)
        assert caught.value.reason == reason

    asyncio.run(story())
    assert api.reads == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "which does not exist; create it"),
        ({"password": base64.b64encode(b"nonsense").decode()}, "Kafka's client cannot use connection: "),
    ],
)
def test_a_connection_that_cannot_be_tried_says_why_whatever_is_asked(
    tmp_path: Path, data: dict[str, str] | None, words: str
) -> None:
    """It is a cluster that never answers: fleets on it are reported, others served."""

    async def story() -> list[str]:
        kafka = await clusters(tmp_path, FakeApi(data)).connect(Connection("other:1", tls=Tls(THEIRS)), {})
        with pytest.raises(KafleetError) as caught:
            await kafka.topics.observe(["topic"], anew=True)
        return [str(caught.value), str((await kafka.groups.delete(["group"]))["group"])]

    said = asyncio.run(story())
    assert all(words in each for each in said)
