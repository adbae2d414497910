"""FastStream, a record a call: publish and its acknowledgement, then the commit, then the next record.

At least once, in order within each partition. More workers would need `ACK_FIRST`, which is at most once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import uvloop
from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaMessage, KafkaResponse

job = json.loads(sys.argv[1])
broker = KafkaBroker(job["servers"], log_level=logging.DEBUG)  # two lines a record otherwise


@broker.publisher(job["output"])  # type: ignore[untyped-decorator]
@broker.subscriber(  # type: ignore[untyped-decorator]
    job["input"], group_id=job["group"], auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR
)
async def handle(value: bytes, message: KafkaMessage) -> KafkaResponse:
    return KafkaResponse(value, key=message.raw_message.key(), headers=message.headers)


uvloop.install()
asyncio.run(FastStream(broker).run())
