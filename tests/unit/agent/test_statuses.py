"""/status, /readyz, /healthz and /metrics say how the process is, and fit their contract."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from unit.agent.fleets import Fleet, Member, Plan
from unit.agent.samples import lane
from virtual import run, until

from kafleet.contacts import Contact
from kafleet.errors import StartError
from kafleet.metrics import Metrics
from kafleet.records import Partition
from kafleet.serving import Server
from kafleet.stalls import Stalls
from kafleet.statuses import Statuses

CONTRACT = Path(__file__).resolve().parents[3] / "agent_image" / "contract"
SCHEMA = Draft202012Validator(
    json.loads((CONTRACT / "status.schema.json").read_text()), format_checker=FormatChecker()
)
P0, P1 = Partition("tasks", 0), Partition("tasks", 1)


def statuses_of(member: Member, contact: Contact) -> Statuses:
    return Statuses(lane(), "pod-1", member.dispatcher, contact, Stalls(member.dispatcher, lambda _: {}))


def test_the_status_of_a_busy_replica_fits_the_contract() -> None:
    fleet = Fleet(
        plans={
            "tasks/0/0": Plan(seconds=5),
            "tasks/0/1": Plan(seconds=0.0, verdicts=("failed",)),
            "tasks/0/3": Plan(seconds=0.5, verdicts=("saturated",)),
        }
    )
    fleet.fill(P0, [b"slow", b"\xff", b"slow", b"full"])

    async def story() -> dict[str, Any]:
        member = fleet.add(backoffInitialSeconds=60, backoffMaxSeconds=60)
        member.assign(P0)
        await until(0.6)
        status = statuses_of(member, Contact(member_id="m", has_brokers=True, has_group=True)).status()
        member.crash()
        return status

    status = run(story())
    SCHEMA.validate(status)
    assert (status["inFlight"], status["held"], status["state"]) == (1, 3, "Running")
    assert status["throttledUntil"] is not None
    assert status["partitions"] == [
        {
            "topic": "tasks",
            "partition": 0,
            "position": 0,
            "committed": 0,
            "inFlight": 1,
            "held": 3,
            "paused": False,
            "leaving": False,
        }
    ]
    [failure] = status["failures"]
    assert (failure["key"], failure["attempt"], failure["error"]) == ("\\xff", 2, "ValueError: no")


def test_the_status_before_joining_fits_the_contract_and_is_not_ready_but_healthy() -> None:
    async def story() -> tuple[dict[str, Any], list[str], list[str]]:
        member = Fleet().add()
        statuses = statuses_of(member, Contact(error="refused"))
        member.crash()
        return statuses.status(), statuses.lacks(), statuses.ills()

    status, lacks, ills = run(story())
    SCHEMA.validate(status)
    assert lacks[:2] == ["no broker is reachable: refused", "the group is not joined"]
    assert ills == []


def test_an_empty_assignment_is_ready() -> None:
    async def story() -> list[str]:
        member = Fleet().add()
        lacks = statuses_of(member, Contact(member_id="m", has_brokers=True, has_group=True)).lacks()
        member.crash()
        return lacks

    assert run(story()) == []


def test_a_suspended_replica_is_not_ready_but_healthy() -> None:
    fleet = Fleet()
    fleet.fill(P0, [None] * 10)

    async def story() -> tuple[list[str], list[str]]:
        member = fleet.add()
        member.dispatcher.suspend()
        member.assign(P0)
        await until(400)
        statuses = statuses_of(member, Contact(member_id="m", has_brokers=True, has_group=True))
        member.end()
        return statuses.lacks(), statuses.ills()

    assert run(story()) == (["the group's coordinator is silent, nothing is started until it is back"], [])


def test_long_calls_throttling_and_full_slots_are_not_ill() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=500), "tasks/0/1": Plan(seconds=500)})
    fleet.fill(P0, [None] * 10)

    async def story() -> list[str]:
        member = fleet.add(concurrency=2, taskTimeoutSeconds=10)
        member.assign(P0)
        await until(400)
        ills = statuses_of(member, Contact()).ills()
        member.crash()
        return ills

    assert run(story()) == []


def test_a_drain_and_brokers_that_are_away_for_an_hour_are_not_ill() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=4_000, is_stubborn=True)})
    fleet.fill(P0, [b"a"] * 10)
    fleet.fill(P1, [None] * 10)

    async def story() -> tuple[list[str], list[str], int]:
        member = fleet.add(
            writes_seconds=7_200, concurrency=4, drainTimeoutSeconds=10
        )  # no write is acknowledged
        member.assign(P0)
        member.assign(P1)
        await until(1)
        leaving = asyncio.ensure_future(member.revoke(P0))
        await until(3_600)
        statuses = statuses_of(member, Contact(error="refused"))
        found = statuses.ills(), statuses.lacks(), member.dispatcher.in_flight
        leaving.cancel()
        member.crash()
        return found

    ills, lacks, in_flight = run(story())
    assert in_flight
    assert ills == []
    assert lacks[0] == "no broker is reachable: refused"


def test_a_silent_kafka_thread_is_ill() -> None:
    async def story() -> list[str]:
        member = Fleet().add()
        contact = Contact()
        contact.polled_at -= 121
        ills = statuses_of(member, contact).ills()
        member.crash()
        return ills

    assert run(story()) == ["the Kafka thread has been silent for 121 s"]


def test_a_runnable_record_that_lies_too_long_is_ill() -> None:
    """It cannot happen, so the dispatcher's own wheels are stopped for the test."""
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=100)})
    fleet.fill(P0, [None] * 2)

    async def story() -> list[str]:
        member = fleet.add(concurrency=1)
        member.assign(P0)
        await until(0.5)
        member.end()  # nothing is fed any more
        member.dispatcher.slots -= 1  # a slot that came free unnoticed
        await until(21)
        ills = statuses_of(member, Contact()).ills()
        member.dispatcher.slots += 1
        member.crash()
        return ills

    assert run(story()) == ["a runnable record has been lying for 21 s, the limit is 20 s"]


def test_a_partition_that_is_not_read_on_is_ill_after_two_minutes() -> None:
    async def story() -> list[list[str]]:
        member = Fleet().add()
        member.assign(P0)
        stalls = Stalls(member.dispatcher, lambda _: {P0: 1})
        statuses = Statuses(lane(), "pod-1", member.dispatcher, Contact(), stalls)
        looking = asyncio.create_task(stalls.run())
        await until(60 + 120)
        found = [statuses.ills()]
        await until(60 + 121)
        found.append(statuses.ills())
        looking.cancel()
        member.crash()
        return found

    assert run(story()) == [[], ["records have been lying for 121 s in a partition that is not read on"]]


async def fetch(path: str, port: int, method: str = "GET") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def said_to(port: int, request: bytes) -> bytes:
    """Return all that is answered, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answer


def test_the_four_paths_answer() -> None:
    async def story() -> dict[str, tuple[int, str]]:
        metrics = Metrics()
        metrics.attempts.add(0.1)
        server = Server(
            metrics.registry, ills=list, lacks=lambda: ["no broker"], status=lambda: {"version": 1}
        )
        port = await server.start(0)
        try:
            return {path: await fetch(path, port) for path in ("/healthz", "/readyz", "/status", "/metrics")}
        finally:
            await server.stop()

    answers = asyncio.run(story())
    assert answers["/healthz"] == (200, '{"ok": true, "reasons": []}')
    assert answers["/readyz"] == (503, '{"ok": false, "reasons": ["no broker"]}')
    assert answers["/status"] == (200, '{"version": 1}')
    assert 'kafleet_attempts_total{outcome="finished"} 1.0' in answers["/metrics"][1]


def test_nonsense_at_the_port_gets_an_answer_and_harms_nobody() -> None:
    async def story() -> tuple[list[tuple[int, str]], list[bytes], int]:
        server = Server(Metrics().registry, ills=list, lacks=list, status=dict)
        port = await server.start(0)
        try:
            asked = [("/", "GET"), ("/healthz", "POST"), ("/status?pretty=1", "GET")]
            polite = [await fetch(path, port, method) for path, method in asked]
            requests = [
                b"\xff\xfe\r\n\r\n",
                b"GET\r\n\r\n",
                b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000 + b"\r\n\r\n",
            ]
            rude = [(await said_to(port, each)).partition(b"\r\n")[0] for each in requests]
            _, silent = await asyncio.open_connection("127.0.0.1", port)
            _, gone = await asyncio.open_connection("127.0.0.1", port)
            gone.write(b"GET /heal")
            gone.transport.abort()
            status, _ = await fetch("/healthz", port)
            silent.close()
            return polite, rude, status
        finally:
            await server.stop()

    polite, rude, status = asyncio.run(story())

    assert polite == [(404, "null"), (405, "null"), (200, "{}")]
    assert rude == [
        b"HTTP/1.1 400 Bad Request",
        b"HTTP/1.1 400 Bad Request",
        b"HTTP/1.1 431 Request Header Fields Too Large",
    ]
    assert status == 200


def test_a_port_that_is_taken_is_said_at_start() -> None:
    async def story() -> None:
        server = Server(Metrics().registry, ills=list, lacks=list, status=dict)
        port = await server.start(0)
        other = Server(Metrics().registry, ills=list, lacks=list, status=dict)
        try:
            with pytest.raises(StartError, match=f"cannot listen on http.port {port}"):
                await other.start(port)
        finally:
            await other.stop()
            await server.stop()

    asyncio.run(story())
