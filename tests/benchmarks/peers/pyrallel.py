"""pyrallel-consumer: asyncio tasks, in order for each key, offsets committed as far as all is done.

At least once. It hands over no headers and has no outputs: the worker produces and awaits the
acknowledgement.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from typing import TYPE_CHECKING

import uvloop
from confluent_kafka import KafkaException, Producer
from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.consumer import PyrallelConsumer

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message
    from pyrallel_consumer.dto import WorkItem

job = json.loads(sys.argv[1])
logging.basicConfig(level=logging.ERROR)


async def main() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    producer = Producer({"bootstrap.servers": job["servers"], "acks": "all", "enable.idempotence": True})

    async def work(item: WorkItem) -> None:
        await asyncio.sleep(job["seconds"])
        acknowledged = loop.create_future()

        def tell(error: KafkaError | None, _: Message) -> None:
            def settle() -> None:
                if error is None:
                    acknowledged.set_result(None)
                else:
                    acknowledged.set_exception(KafkaException(error))

            loop.call_soon_threadsafe(settle)

        producer.produce(job["output"], item.payload, item.key, headers={"peer": b"1"}, on_delivery=tell)
        await acknowledged

    async def poll() -> None:
        while True:
            await loop.run_in_executor(None, producer.poll, 0.1)

    config = KafkaConfig(BOOTSTRAP_SERVERS=job["servers"], CONSUMER_GROUP=job["group"], dlq_enabled=False)
    parallel = config.parallel_consumer
    parallel.worker_pool_size = 100_000  # queues that keys are hashed onto: one at a time in each
    parallel.queue_max_messages = 5 * job["concurrency"]
    parallel.execution.max_in_flight = job["concurrency"]
    consumer = PyrallelConsumer(config=config, worker=work, topic=job["input"])
    polling = asyncio.create_task(poll())
    await consumer.start()
    await stop.wait()
    await consumer.stop()
    polling.cancel()
    producer.flush()


uvloop.run(main())
