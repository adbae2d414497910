"""The Kafka clusters that fleets use, each connected to once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

from kafleet_operator.effects.brokers import Brokers
from kafleet_operator.effects.connections import kafka_python_settings
from kafleet_operator.effects.groups import Groups
from kafleet_operator.effects.nodes import Nodes
from kafleet_operator.effects.topics import Topics
from kafleet_operator.effects.transactions import Transactions
from kafleet_operator.errors import ApiUnavailable, KafleetError, NotAuthorized
from kafleet_operator.planning.observations import Unknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from kafleet_operator.effects.secrets import Secrets
    from kafleet_operator.planning.connections import Connection, SecretKey
    from kafleet_operator.planning.references import Seen

    Connect = Callable[[Connection, Seen], Awaitable["Kafka"]]


@dataclass(frozen=True)
class Kafka:
    """One Kafka cluster. Not slotted: it is referenced weakly."""

    topics: Topics
    groups: Groups
    transactions: Transactions


class Unusable:
    """Stands for the clients of a cluster that cannot even be tried: asked anything, it says why."""

    def __init__(self, error: KafleetError) -> None:
        self._error = error

    async def call(self, *_: object, **__: object) -> NoReturn:
        raise self._error

    async def ask(self, *_: object, **__: object) -> NoReturn:
        raise self._error


class Clusters:
    """The Kafka clusters that fleets use. Equal connections share their clients and what these read.

    Clients end with the last fleet that holds them, or when a Secret of theirs is another one.
    """

    def __init__(self, own: Connection, secrets: Secrets, observe_seconds: float) -> None:
        self._own = own
        self._secrets = secrets
        self._observe_seconds = observe_seconds
        self._known: WeakValueDictionary[tuple[Connection, tuple[str, ...]], Kafka] = WeakValueDictionary()

    async def connect(self, connection: Connection, seen: Seen) -> Kafka:
        """Return the cluster of a connection; a useless one is a cluster that never answers, and says why.

        `seen` is what is known of the Secrets that it names. The operator shows its own credentials to its
        own brokers only, and whoever names others must give the credentials, too: otherwise any user could
        have the operator send its own anywhere.
        """
        try:
            if connection.bootstrap_servers == self._own.bootstrap_servers:
                values = self._secrets.read_own(self._own.secret_keys())
                return self._cluster(self._own, tuple(values.values()), values)
            versions = tuple(_version(key, seen) for key in connection.secret_keys())
            known = self._known.get((connection, versions))
            return known or self._cluster(
                connection, versions, await self._secrets.read(connection.secret_keys())
            )
        except KafleetError as error:
            clients: Any = Unusable(error)
            return self._kafka(clients, clients)

    def _cluster(
        self, connection: Connection, versions: tuple[str, ...], values: Mapping[SecretKey, str]
    ) -> Kafka:
        kafka = self._known.get((connection, versions))
        if kafka is None:
            brokers = Brokers(connection, values)
            nodes = Nodes(connection, kafka_python_settings(connection, values))
            kafka = self._kafka(brokers, nodes)
            self._known[connection, versions] = kafka
        return kafka

    def _kafka(self, brokers: Brokers, nodes: Nodes) -> Kafka:
        seconds = self._observe_seconds
        return Kafka(Topics(brokers, seconds), Groups(nodes, seconds), Transactions(nodes, seconds))


def _version(key: SecretKey, seen: Seen) -> str:
    """Return what changes with a key's value; empty while it has none."""
    content = seen.get(("Secret", key.secret))
    if isinstance(content, Unknown):
        error = NotAuthorized if content.reason == NotAuthorized.reason else ApiUnavailable
        raise error(f"{key.field}: {content.message}")
    return content.get(key.key, "") if content else ""
