"""A producer without brokers, and an epoch of it."""

from __future__ import annotations

from typing import Generic, TypeVar

from kafleet.epochs import ProducerEpoch


class Idle:
    """A producer that takes everything and answers nothing."""

    def __len__(self) -> int:
        return 0

    def init_transactions(self, _: float) -> None: ...

    def begin_transaction(self) -> None: ...

    def poll(self, _: float) -> None: ...

    def produce(self, *_: object) -> None: ...

    def flush(self, _: float) -> None: ...

    def send_offsets_to_transaction(self, *_: object) -> None: ...

    def commit_transaction(self, _: float) -> None: ...


Producer = TypeVar("Producer", bound=Idle)


class Epoch(ProducerEpoch, Generic[Producer]):
    """An epoch of such a client."""

    def __init__(self, client: Producer, seconds: float = 10.0) -> None:
        self.client = client
        super().__init__({}, seconds=seconds, is_stopping=lambda: False)

    def _client(self, _: object) -> Producer:
        return self.client
