"""The operator's HTTP port tells the kubelet how it is, and Prometheus what it counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import aiohttp
import pytest
from virtual import run

from kafleet_operator.errors import KafleetError
from kafleet_operator.metrics import REGISTRY
from kafleet_operator.serving import served, watch_loop

if TYPE_CHECKING:
    from kafleet.testing.clocks import VirtualLoop


def well() -> str:
    return ""


async def get(port: int, path: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, response.content_type, await response.text()


def test_each_path_answers() -> None:
    """Health and readiness are two things, each with its reason."""

    async def story() -> None:
        reasons = {"ills": "", "lacks": "nothing was listed yet"}
        async with served(
            "127.0.0.1", 0, ills=lambda: reasons["ills"], lacks=lambda: reasons["lacks"]
        ) as port:
            assert (await get(port, "/healthz"))[0] == 200
            status, _, text = await get(port, "/readyz")
            assert (status, text) == (503, '{"ok": false, "reason": "nothing was listed yet"}')
            reasons.update(ills="stuck", lacks="")
            assert [(await get(port, path))[0] for path in ("/healthz", "/readyz")] == [503, 200]
            status, kind, text = await get(port, "/metrics")
            assert (status, kind) == (200, "text/plain")
            assert "# TYPE kafleet_operator_event_loop_delay_seconds histogram" in text

    asyncio.run(story())


def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    """The operator ends with one line, instead of running unseen."""

    async def story() -> None:
        async with served("127.0.0.1", 0, ills=well, lacks=well) as port:
            with pytest.raises(KafleetError, match=f"KAFLEET_HTTP_PORT {port}: "):
                await served("127.0.0.1", port, ills=well, lacks=well).__aenter__()

    asyncio.run(story())


def test_a_blocked_loop_is_measured() -> None:
    """Whatever holds up the loop for three seconds, shows as three seconds."""
    name = "kafleet_operator_event_loop_delay_seconds_sum"
    before = REGISTRY.get_sample_value(name) or 0.0

    async def story() -> None:
        loop = cast("VirtualLoop", asyncio.get_running_loop())

        def block() -> None:
            loop.now += 3

        watch = asyncio.create_task(watch_loop())
        loop.call_at(10.2, block)
        await asyncio.sleep(20)
        watch.cancel()

    run(story())

    assert (REGISTRY.get_sample_value(name) or 0.0) - before == pytest.approx(2.7)
