"""FastStream as an agent of a chaos run: what a handler does about failures is written by hand, as users do.

`CHAOS_PEER` is `defaults`, `many` (32 records at a time, which allows no other acknowledgement than the
default one), or `acknowledging` (the commit after the handler).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from chaos.work import Rejected, perform, perform_blocking
from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaMessage

SESSION_SECONDS, MAX_ATTEMPTS, TASK_TIMEOUT_SECONDS = 6, 4, 5
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "many": {"max_workers": 32},
    "acknowledging": {"ack_policy": AckPolicy.NACK_ON_ERROR},
}

lane = json.loads(Path(os.environ["KAFLEET_LANE_FILE"]).read_text())
broker = KafkaBroker(
    lane["bootstrapServers"], client_id=os.environ["KAFLEET_POD_NAME"], log_level=logging.DEBUG
)


@broker.subscriber(  # type: ignore[untyped-decorator]
    lane["inputs"][0]["topic"],
    group_id=lane["group"],
    auto_offset_reset="earliest",
    session_timeout_ms=SESSION_SECONDS * 1_000,
    **OPTIONS[os.environ["CHAOS_PEER"]],
)
async def handle(message: KafkaMessage) -> None:
    value = message.body
    key, headers = message.raw_message.key(), dict(message.raw_message.headers() or ())
    try:
        answer = await attempted(json.loads(value), is_blocking="ce_type" in headers)
    except Exception:  # noqa: BLE001 - whatever failed, a dead letter says so
        letter = {name: content.decode() for name, content in headers.items()}
        await broker.publish(value, lane["deadLetters"], key=key, headers=letter)
    else:
        await broker.publish(answer, lane["outputs"]["results"], key=key)


async def attempted(task: dict[str, Any], *, is_blocking: bool) -> dict[str, Any]:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            if is_blocking:
                return await asyncio.to_thread(perform_blocking, task, attempt)
            return await asyncio.wait_for(perform(task, attempt), TASK_TIMEOUT_SECONDS)
        except Rejected:
            raise
        except Exception:
            if attempt == MAX_ATTEMPTS:
                raise
            await asyncio.sleep(0.05)
    raise AssertionError


sys.exit(asyncio.run(FastStream(broker).run()))
