"""The operator's settings, read once from environment variables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from kafleet_operator.api.connections import ConnectionSpec
from kafleet_operator.api.faults import faults_in
from kafleet_operator.planning.connections import Connection, connection_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafleet_operator.planning.connections import Authentication, Tls

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
# What messages call the operator's own connection.
CHART: Final = "the chart's kafka"
SECRETS_FOLDER: Final = Path("/etc/kafleet/secrets")
PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")


class Variable(NamedTuple):
    """What the reference says about an environment variable: the chart's value that sets it, its default."""

    value: str
    default: str
    says: str


VARIABLES: Final = {
    "KAFLEET_BOOTSTRAP_SERVERS": Variable(
        "kafka.bootstrapServers",
        "required",
        "Brokers of resources that name none, as host:port[,host:port]",
    ),
    "KAFLEET_KAFKA_AUTHENTICATION": Variable(
        "kafka.authentication",
        "",
        "Who the operator is towards these brokers: JSON, as `connection.authentication` of a resource",
    ),
    "KAFLEET_KAFKA_TLS": Variable(
        "kafka.tls", "", "Whether it encrypts: JSON, as `connection.tls` of a resource; empty: not"
    ),
    "KAFLEET_SECRETS_FOLDER": Variable(
        "", str(SECRETS_FOLDER), "Folder with the Secrets that these two name, as `<secret>/<key>`"
    ),
    "KAFLEET_AGENT_IMAGE": Variable(
        "agentImage", "required", "Image that agents run in, where their resource names no other"
    ),
    "KAFLEET_AGENT_IMAGE_PULL_POLICY": Variable(
        "agentImage.pullPolicy", "IfNotPresent", f"When that image is pulled: {', '.join(PULL_POLICIES)}"
    ),
    "KAFLEET_NAMESPACES": Variable(
        "watch.namespaces", "", "Namespaces that are served, separated by commas; empty: all of the cluster"
    ),
    "KAFLEET_SERVICE_ACCOUNT": Variable(
        "", "", "The operator's own account, as namespace:name, for messages that say how to allow something"
    ),
    "KAFLEET_SECRETS_ROLE": Variable(
        "", "", "ClusterRole that lets the operator read Secrets where it is bound, for such messages"
    ),
    "KAFLEET_RESYNC_SECONDS": Variable(
        "resyncSeconds", "300", "Seconds between two full lists of everything, in case a watch fell silent"
    ),
    "KAFLEET_OBSERVE_SECONDS": Variable(
        "observeSeconds", "5", "Seconds between two looks at a fleet that nothing happens to"
    ),
    "KAFLEET_LOG_LEVEL": Variable("logLevel", "info", f"The least that is logged: {', '.join(LOG_LEVELS)}"),
    "KAFLEET_HTTP_PORT": Variable("", "8080", "Port of `/healthz`, `/readyz` and `/metrics`"),
}


class InvalidSetting(Exception):
    """An environment variable cannot be used; the message names it and the way out."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was told at its start.

    * `namespaces`: the only ones served; empty means all of the cluster.
    * `service_account`: the operator's own, as namespace:name, and `secrets_role`, the ClusterRole that lets
      it read Secrets where it is bound: what messages name. Empty where nobody said.
    * `resync_seconds`: how often everything is listed anew, in case a watch fell silent.
    * `authentication`, `tls`: who the operator is towards its brokers; its Secrets are files,
      `<secret>/<key>` in `secrets_folder`, and may change at any time.
    * `observe_seconds`: how often each fleet's lag and groups are read while nothing else happens.
    """

    bootstrap_servers: str
    agent_image: str
    agent_image_pull_policy: str = "IfNotPresent"
    namespaces: tuple[str, ...] = ()
    service_account: str = ""
    secrets_role: str = ""
    resync_seconds: float = 300.0
    observe_seconds: float = 5.0
    log_level: str = "info"
    http_port: int = 8080
    authentication: Authentication | None = None
    tls: Tls | None = None
    secrets_folder: Path = SECRETS_FOLDER

    @property
    def connection(self) -> Connection:
        """The operator's own, to the brokers of every resource that names none."""
        return Connection(self.bootstrap_servers, self.authentication, self.tls, path=CHART)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read `KAFLEET_*` variables; raise `InvalidSetting` at the first that cannot be used."""
    own = _own_connection(environment)
    return Settings(
        bootstrap_servers=_required(environment, "KAFLEET_BOOTSTRAP_SERVERS"),
        agent_image=_required(environment, "KAFLEET_AGENT_IMAGE"),
        agent_image_pull_policy=_one_of(
            environment, "KAFLEET_AGENT_IMAGE_PULL_POLICY", "IfNotPresent", PULL_POLICIES
        ),
        namespaces=tuple(
            name.strip() for name in environment.get("KAFLEET_NAMESPACES", "").split(",") if name.strip()
        ),
        service_account=environment.get("KAFLEET_SERVICE_ACCOUNT", "").strip(),
        secrets_role=environment.get("KAFLEET_SECRETS_ROLE", "").strip(),
        resync_seconds=_number(environment, "KAFLEET_RESYNC_SECONDS", 300, at_least=1, at_most=86_400),
        observe_seconds=_number(environment, "KAFLEET_OBSERVE_SECONDS", 5, at_least=0.1, at_most=3_600),
        log_level=_one_of(environment, "KAFLEET_LOG_LEVEL", "info", LOG_LEVELS),
        http_port=int(_number(environment, "KAFLEET_HTTP_PORT", 8080, at_least=1, at_most=65_535)),
        authentication=own.authentication,
        tls=own.tls,
        secrets_folder=Path(environment.get("KAFLEET_SECRETS_FOLDER") or SECRETS_FOLDER),
    )


def _own_connection(environment: Mapping[str, str]) -> Connection:
    """Read who the operator is: JSON of the same shape as `connection` in a resource."""
    names = {"authentication": "KAFLEET_KAFKA_AUTHENTICATION", "tls": "KAFLEET_KAFKA_TLS"}
    texts = {field: environment.get(name, "").strip() for field, name in names.items()}
    try:
        given = {field: json.loads(text) for field, text in texts.items() if text}
        spec = ConnectionSpec.model_validate(given)
    except ValidationError as error:
        raise InvalidSetting(f"{' or '.join(names.values())}: {faults_in(error, 'kafka')}") from None
    except ValueError:
        raise InvalidSetting(f"{' or '.join(names.values())} is no JSON") from None
    return connection_for(spec, bootstrap_servers="", namespace="", path=CHART)


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise InvalidSetting(f"{name} is not set and has no default")
    return value


def _one_of(environment: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = environment.get(name, "").strip() or default
    if value not in allowed:
        raise InvalidSetting(f"{name} is {value!r}: use one of {', '.join(allowed)}")
    return value


def _number(
    environment: Mapping[str, str], name: str, default: float, *, at_least: float, at_most: float
) -> float:
    text = environment.get(name, "").strip() or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not at_least <= value <= at_most:  # also false for NaN
        raise InvalidSetting(f"{name} is {text!r}: use a number from {at_least:g} to {at_most:g}")
    return value
