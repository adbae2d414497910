"""FastStream, a batch a call: publish all, wait for all acknowledgements, then the commit.

At least once, in order within each partition. The handler gets and returns lists, and a failure repeats the
whole batch. FastStream gives a batch's outputs one set of headers, so they cannot be each record's own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import uvloop
from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaMessage, KafkaResponse

BATCH = 500

job = json.loads(sys.argv[1])
broker = KafkaBroker(job["servers"], log_level=logging.DEBUG)  # two lines a batch otherwise


@broker.subscriber(  # type: ignore[untyped-decorator]
    job["input"],
    group_id=job["group"],
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.NACK_ON_ERROR,
    batch=True,
    max_records=BATCH,
)
async def handle(values: list[bytes], message: KafkaMessage) -> None:
    outputs = [
        KafkaResponse(value, key=record.key())
        for value, record in zip(values, message.raw_message, strict=True)
    ]
    await broker.publish_batch(*outputs, topic=job["output"], headers=message.headers)


uvloop.install()
asyncio.run(FastStream(broker).run())
