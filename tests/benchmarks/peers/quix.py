"""Quix Streams: outputs flushed, then the commit, each second.

At least once, in order within each partition. Handlers are plain functions, one after the other.
"""

from __future__ import annotations

import json
import sys
import tempfile

from quixstreams import Application

job = json.loads(sys.argv[1])


def handle(value: bytes) -> bytes:
    return value


with tempfile.TemporaryDirectory() as state:
    application = Application(
        job["servers"],
        consumer_group=job["group"],
        auto_offset_reset="earliest",
        commit_interval=1.0,  # 5 s otherwise: as often as the others, for the same bound on repeats
        processing_guarantee=job.get("guarantee", "at-least-once"),
        loglevel="WARNING",
        auto_create_topics=False,
        state_dir=state,
    )
    source = application.topic(job["input"], key_deserializer="bytes", value_deserializer="bytes")
    target = application.topic(job["output"], key_serializer="bytes", value_serializer="bytes")
    application.dataframe(source).apply(handle).to_topic(target)
    application.run()
