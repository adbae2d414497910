"""The loop one writes by hand: consume a batch, produce, and each second flush and commit.

At least once. Handlers run one after the other; no retries, no dead letters.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, Producer

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

COMMIT_SECONDS = 1.0
BATCH = 500


def handle(value: bytes) -> bytes:
    return value


def check(error: KafkaError | None, _: Message) -> None:
    if error is not None:
        raise KafkaException(error)


def main() -> None:
    job = json.loads(sys.argv[1])
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    consumer = Consumer(
        {
            "bootstrap.servers": job["servers"],
            "group.id": job["group"],
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": job["servers"],
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
        }
    )
    consumer.subscribe([job["input"]])
    committed_at = time.monotonic()
    has_read = False
    while running:
        for record in consumer.consume(BATCH, 0.1):
            if record.error():
                raise KafkaException(record.error())
            has_read = True
            while True:
                try:
                    producer.produce(
                        job["output"],
                        handle(record.value()),
                        record.key(),
                        headers=record.headers(),
                        on_delivery=check,
                    )
                except BufferError:
                    producer.poll(0.1)
                else:
                    break
        producer.poll(0)
        if has_read and time.monotonic() - committed_at >= COMMIT_SECONDS:
            producer.flush()
            consumer.commit(asynchronous=False)
            committed_at, has_read = time.monotonic(), False
    producer.flush()
    if has_read:
        consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main()
