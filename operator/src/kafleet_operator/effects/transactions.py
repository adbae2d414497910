"""Transactions that are open, asked of every broker at once, and ended in their producers' place.

Nobody has to remember who had one: brokers tell what is open now, each for the ids that it coordinates.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from kafleet_operator.effects.batches import FRESH_SHARE, Batches
from kafleet_operator.effects.leaders import METADATA_VERSION
from kafleet_operator.effects.protocol import (
    FindCoordinatorRequest,
    InitProducerIdRequest,
    ListTransactionsRequest,
    MetadataRequest,
    errors,
)
from kafleet_operator.errors import Denied, KafkaUnreachable, KafleetError, NotAuthorized
from kafleet_operator.planning.observations import OpenTransaction, Unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from kafleet_operator.effects.nodes import Nodes

    Reading = tuple[OpenTransaction, ...] | KafleetError

TRANSACTION: Final = 1  # what is coordinated, as FindCoordinator calls it
ID: Final = re.compile(r"(?P<group>[^/]+)/(?P<pod>[a-z0-9]([a-z0-9.-]*[a-z0-9])?)")  # as agents make it
ONGOING: Final = "Ongoing"
NOBODY: Final = -1
TIMEOUT_MS: Final = 1_000  # of transactions that nobody makes; the id's next producer sets its own
IS_ENDING: Final = errors.ConcurrentTransactionsError.errno


class Transactions:
    """The transactions of agents in one Kafka cluster; the id of each is `<group>/<pod>`."""

    def __init__(self, nodes: Nodes, observe_seconds: float) -> None:
        self._nodes = nodes
        self._open: Batches[str, Reading] = Batches(self._read, FRESH_SHARE * observe_seconds)

    async def observe(
        self, groups: Collection[str], *, anew: bool
    ) -> dict[str, tuple[OpenTransaction, ...] | Unknown]:
        """Return the open transactions of each group, or why they may not be seen.

        Those that are found: a broker that is silent tells of none, until another one has its ids. Unless
        `anew`, a reading for somebody else that is younger than an observation will do.
        """
        found = await self._open.get(groups, anew=anew)
        return {
            group: Unknown(reading.reason, str(reading)) if isinstance(reading, KafleetError) else reading
            for group, reading in found.items()
        }

    async def end(self, transactions: Iterable[OpenTransaction]) -> dict[str, KafleetError]:
        """Abort transactions and fence who made them; return what was refused, by transactional id.

        What cannot be asked now is still open when one looks again.
        """
        wanted = tuple(transactions)
        refusals = await asyncio.gather(*map(self._end, wanted))
        return {each.id: error for each, error in zip(wanted, refusals, strict=True) if error}

    async def _end(self, transaction: OpenTransaction) -> KafleetError | None:
        """Begin a new epoch of an id, as a producer would that takes it over."""
        request = InitProducerIdRequest(
            transactional_id=transaction.id,
            transaction_timeout_ms=TIMEOUT_MS,
            producer_id=NOBODY,
            producer_epoch=NOBODY,
        )
        try:
            answer = await self._nodes.ask(request, transaction.coordinator)
            error = None if answer.error_code == IS_ENDING else self._nodes.error_of(answer.error_code)
        except KafleetError as failure:
            error = failure
        if isinstance(error, KafkaUnreachable):
            return None
        return _denied("Write") if isinstance(error, NotAuthorized) else error

    async def _read(self, groups: Collection[str]) -> Mapping[str, Reading]:
        try:
            denials, listed = await asyncio.gather(self._denials(groups), self._list())
        except KafleetError as error:
            return dict.fromkeys(groups, error)
        found: dict[str, list[OpenTransaction]] = {group: [] for group in groups}
        for each in listed:
            if each.group in found:
                found[each.group].append(each)
        return {group: denials.get(group) or tuple(sorted(found[group])) for group in groups}

    async def _denials(self, groups: Collection[str]) -> dict[str, KafleetError]:
        """Return whose ids may not be seen: lists of transactions leave those out without a word."""
        keys = {f"{group}/": group for group in groups}
        request = FindCoordinatorRequest(key_type=TRANSACTION, coordinator_keys=list(keys), min_version=4)
        answer = await self._nodes.ask(request)
        return {
            keys[each.key]: _denied("Describe", f"transactional ids {each.key + '*'!r}: ")
            for each in answer.coordinators
            if isinstance(self._nodes.error_of(each.error_code), NotAuthorized)
        }

    async def _list(self) -> list[OpenTransaction]:
        metadata = await self._nodes.ask(
            MetadataRequest(topics=[], allow_auto_topic_creation=False, max_version=METADATA_VERSION)
        )
        told = await asyncio.gather(*(self._list_at(each.node_id) for each in metadata.brokers))
        return [transaction for each in told for transaction in each]

    async def _list_at(self, node: int) -> list[OpenTransaction]:
        request = ListTransactionsRequest(state_filters=[ONGOING], producer_id_filters=[])
        try:
            answer = await self._nodes.ask(request, node)
        except KafleetError:
            return []
        ids = (ID.fullmatch(each.transactional_id) for each in answer.transaction_states)
        return [OpenTransaction(each["group"], each["pod"], node) for each in ids if each]


def _denied(operation: str, subject: str = "") -> Denied:
    return Denied(
        f"{subject}no ACL allows the operator {operation}; grant it, see Security in docs/operations.md"
    )
