"""Quix Streams: outputs flushed, then the commit, each second; or a transaction of both, each 100 ms.

At least once or exactly once, in order within each partition. Handlers are plain functions, one
after the other.
"""

from __future__ import annotations

import json
import sys
import tempfile

from quixstreams import Application

job = json.loads(sys.argv[1])


def handle(value: bytes) -> bytes:
    return value


is_exactly_once = job["guarantee"] == "ExactlyOnce"

with tempfile.TemporaryDirectory() as state:
    application = Application(
        job["servers"],
        consumer_group=job["group"],
        auto_offset_reset="earliest",
        # 5 s otherwise. As often as the others: for the same bound on repeats, for transactions of 100 ms.
        commit_interval=0.1 if is_exactly_once else 1.0,
        processing_guarantee="exactly-once" if is_exactly_once else "at-least-once",
        loglevel="WARNING",
        auto_create_topics=False,
        state_dir=state,
    )
    source = application.topic(job["input"], key_deserializer="bytes", value_deserializer="bytes")
    target = application.topic(job["output"], key_serializer="bytes", value_serializer="bytes")
    application.dataframe(source).apply(handle).to_topic(target)
    application.run()
