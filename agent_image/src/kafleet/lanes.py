"""The lane file: what the operator tells one agent process. Mirrors `contract/lane.schema.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from kafleet.errors import InvalidLaneFile

if TYPE_CHECKING:
    from pathlib import Path

Name = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_HANDLER = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"


class _Block(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)


class Input(_Block):
    """A topic the lane reads, and its role in the fleet."""

    role: str
    topic: str


class Code(_Block):
    """What to run: `handler` is `module:attribute`, `code_path` a directory put first on the import path."""

    handler: Annotated[str, Field(pattern=_HANDLER)]
    code_path: str | None
    config: dict[str, Any]


class Delivery(_Block):
    """How each record is treated. Durations in seconds."""

    guarantee: Literal["AtLeastOnce", "ExactlyOnce"]
    ordering: Literal["Key", "None"]
    concurrency: Annotated[int, Field(ge=1)]
    task_timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    max_attempts: Annotated[int, Field(ge=1)]
    backoff_initial_seconds: Seconds
    backoff_max_seconds: Seconds
    drain_timeout_seconds: Seconds
    hop_limit: Annotated[int, Field(ge=1)]
    start_from: Literal["earliest", "latest"]

    @property
    def drain_seconds(self) -> float:
        """How long a revoked partition may finish what is in flight."""
        return min(self.task_timeout_seconds, self.drain_timeout_seconds)


class Http(_Block):
    """Port 0 means any free port, on the loopback interface only; it is logged."""

    port: Annotated[int, Field(ge=0, le=65535)]


class Password(_Block):
    """A user name and a password."""

    type: Literal["scram-sha-512", "plain"]
    username: Name
    password_file: Name


class ClientCertificate(_Block):
    """A certificate and its private key, PEM."""

    type: Literal["mtls"]
    certificate_file: Name
    key_file: Name


class ClientCredentials(_Block):
    """What an OpenID Connect provider gives tokens for."""

    type: Literal["oauthbearer"]
    token_endpoint_uri: Name
    client_id: Name
    client_secret_file: Name
    scope: str


Authentication = Password | ClientCertificate | ClientCredentials


class Tls(_Block):
    """TLS to brokers whose certificate authority is in that file, PEM; None: one that the image trusts."""

    ca_file: Name | None


class Security(_Block):
    """Who the process is towards the brokers, and whether the line is encrypted; secrets are in files."""

    authentication: Annotated[Authentication, Field(discriminator="type")] | None
    tls: Tls | None


class Lane(_Block):
    """One consumer group's job, as one of its processes needs to know it."""

    version: Annotated[int, Field(ge=1, le=1)]  # Literal[1] would take true for 1
    kind: Name
    namespace: Name
    resource: Name
    lane: Name
    group: Name
    bootstrap_servers: Name
    security: Security = Security(authentication=None, tls=None)
    inputs: Annotated[tuple[Input, ...], Field(min_length=1, strict=False)]
    outputs: dict[str, str]
    output: str
    dead_letters: str
    sends: dict[str, str]
    agent: Code
    delivery: Delivery
    http: Http

    @property
    def output_topic(self) -> str:
        """Topic of a handler's return values."""
        return self.outputs[self.output]


def parse_lane(text: str | bytes) -> Lane:
    """Read the lane file's JSON, or raise InvalidLaneFile naming every wrong field."""
    try:
        lane = Lane.model_validate_json(text)
    except ValidationError as error:
        faults = (
            f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise InvalidLaneFile(f"invalid lane file: {'; '.join(faults)}") from None
    if lane.output not in lane.outputs:
        raise InvalidLaneFile(
            f"invalid lane file: output: {lane.output!r} is not one of outputs {sorted(lane.outputs)}"
        )
    return lane


def read_lane(path: Path) -> Lane:
    """Read the lane file at that path, or raise InvalidLaneFile."""
    try:
        return parse_lane(path.read_bytes())
    except OSError as error:
        raise InvalidLaneFile(
            f"cannot read the lane file {str(path)!r}: {error.strerror}; set KAFLEET_LANE_FILE to where it is"
        ) from None
    except InvalidLaneFile as error:
        raise InvalidLaneFile(f"{str(path)!r}: {error}") from None
