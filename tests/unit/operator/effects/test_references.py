"""What users own is read once for all, hashed, and watched; in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from unit.operator.fakes import FakeApi
from virtual import run, until

from kafleet_operator.effects.references import RETRY_SECONDS, References
from kafleet_operator.errors import ApiUnavailable, Conflict, NotAuthorized
from kafleet_operator.planning.observations import Unknown
from kafleet_operator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kafleet_operator.effects.views import Key
    from kafleet_operator.planning.observations import Content

Json = dict[str, Any]
TRIAGE, JUDGE = ("AgentGroup", "support", "triage"), ("AgentGroup", "support", "judge")
CODE, KEYS = ("ConfigMap", "code"), ("Secret", "keys")
SETTINGS = Settings(
    "kafka:9092",
    "agent:1",
    resync_seconds=300,
    service_account="kafleet-system:kafleet",
    secrets_role="kafleet-system:kafleet:secrets",
)


class Scene:
    """References over a fake API server, and whom they woke."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.woken: list[Key] = []
        api: Any = self.api
        self.references = References(api, SETTINGS, wake=self.woken.append)

    async def see(self, name: tuple[str, str], resource: Key = TRIAGE) -> Content | Unknown | None:
        return (await self.references.observe(resource, [name]))[name]

    def reads(self) -> int:
        return sum(request.startswith("GET ") for request in self.api.requests)


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def perform() -> None:
        scene = Scene()
        await story(scene)
        await scene.references.stop()

    run(perform())


def config_map(**data: str) -> Json:
    return {"kind": "ConfigMap", "metadata": {"name": "code"}, "data": data}


def secret(value: str, uid: str = "uid-1", kind: str = "Opaque") -> Json:
    return {"kind": "Secret", "type": kind, "metadata": {"name": "keys", "uid": uid}, "data": {"api": value}}


def test_an_object_is_read_once_a_resync_however_many_refer_to_it() -> None:
    """Twelve quiet minutes of two resources: one read, then two more."""

    async def story(scene: Scene) -> None:
        scene.api.put(config_map(a="1"), silently=True)
        for moment in range(0, 700, 5):
            await until(moment)
            assert await scene.see(CODE) == await scene.see(CODE, JUDGE)

        assert scene.reads() == 3

    play(story)


def test_an_edit_is_told_at_once_to_those_whom_it_concerns() -> None:
    """Also that it appeared, and that it went."""

    async def story(scene: Scene) -> None:
        assert await scene.see(CODE) is None
        assert await scene.see(KEYS, JUDGE) is None
        seen = []
        for data in ("1", "2"):
            scene.woken.clear()
            scene.api.put(config_map(a=data), silently=True)
            await until(10 * int(data))
            assert scene.woken == [TRIAGE]
            seen.append(await scene.see(CODE))
        body = scene.api.find("ConfigMap", "code")
        assert body
        scene.api.take(body, silently=True)
        await until(21)
        seen.append(await scene.see(CODE))

        assert seen[0] != seen[1]
        assert seen[2] is None

    play(story)


def test_a_change_during_a_read_is_not_lost() -> None:
    """What was read may be older than the event: it is not kept."""

    async def story(scene: Scene) -> None:
        scene.api.put(config_map(a="1"), silently=True)
        await scene.references.observe(JUDGE, [KEYS, ("ConfigMap", "other")])
        scene.api.read_seconds = 1
        reading = asyncio.create_task(scene.see(CODE))
        await until(0.5)
        scene.api.put(config_map(a="2"), silently=True)
        before = await reading
        scene.api.read_seconds = 0

        assert TRIAGE in scene.woken
        assert await scene.see(CODE) != before

    play(story)


def test_values_of_secrets_cannot_be_tried_out() -> None:
    """Their hashes depend on the object's uid; a ConfigMap's do not, so that one made again rolls nothing."""

    async def story(scene: Scene) -> None:
        seen: list[Any] = []
        for uid in ("uid-1", "uid-2"):
            scene.api.put(secret("c2VjcmV0", uid), silently=True)
            scene.api.put({**config_map(a="1"), "metadata": {"name": "code", "uid": uid}}, silently=True)
            await until(10 * len(seen) + 1)
            seen.append(await scene.references.observe(TRIAGE, [CODE, KEYS]))

        assert seen[0][KEYS] != seen[1][KEYS]
        assert seen[0][CODE] == seen[1][CODE]
        assert "c2VjcmV0" not in str(seen)

    play(story)


def test_a_refused_secret_says_how_to_allow_it() -> None:
    """With the command, whole; what was granted is seen without a watch, and watched from then on."""

    async def story(scene: Scene) -> None:
        scene.api.put(secret("x"), silently=True)
        scene.api.failure = NotAuthorized("GET secrets: 403: forbidden")
        refused = await scene.see(KEYS)
        scene.api.failure = None
        await until(RETRY_SECONDS + 1)

        assert refused == Unknown(
            "NotAuthorized",
            "the operator may not read Secret 'keys'; allow it in this namespace: kubectl create rolebinding "
            "kafleet-secrets --namespace=support --clusterrole=kafleet-system:kafleet:secrets "
            "--serviceaccount=kafleet-system:kafleet",
        )
        assert isinstance(await scene.see(KEYS), dict)

        scene.woken.clear()
        await until(RETRY_SECONDS + 2)
        scene.api.put(secret("y"), silently=True)
        await until(RETRY_SECONDS + 3)
        assert scene.woken == [TRIAGE]

    play(story)


@pytest.mark.parametrize("failure", [ApiUnavailable("500"), Conflict("410: too old"), ValueError("nonsense")])
def test_a_watch_that_breaks_is_begun_anew(failure: Exception) -> None:
    """What happened in between is seen by reading again."""

    async def story(scene: Scene) -> None:
        scene.api.put(config_map(a="1"), silently=True)
        before = await scene.see(CODE)
        scene.api.watch_failure = failure
        await until(1)
        scene.api.put(config_map(a="2"), silently=True)
        scene.api.watch_failure = None
        await until(12)

        assert TRIAGE in scene.woken
        assert await scene.see(CODE) != before

    play(story)


def test_an_api_server_that_does_not_answer_is_unknown() -> None:
    """Not absent; and it is asked again soon."""

    async def story(scene: Scene) -> None:
        scene.api.put(config_map(a="1"), silently=True)
        scene.api.failure = ApiUnavailable("500")
        assert await scene.see(CODE) == Unknown("InternalError", "500")
        scene.api.failure = None
        await until(RETRY_SECONDS + 1)

        assert isinstance(await scene.see(CODE), dict)

    play(story)


def test_a_name_that_is_a_path_is_never_read() -> None:
    """It would lead into another namespace."""

    async def story(scene: Scene) -> None:
        assert await scene.see(("Secret", "../../other/secrets/keys")) is None
        assert scene.reads() == 0

    play(story)


def test_what_nobody_refers_to_is_watched_no_more() -> None:
    """The watch ends with the last resource."""

    async def story(scene: Scene) -> None:
        await scene.see(CODE)
        await scene.see(CODE, JUDGE)
        scene.references.forget(TRIAGE)
        assert len(scene.references._watches) == 1
        scene.references.forget(JUDGE)

        assert scene.references._watches == {}
        assert scene.references._known == {}

    play(story)
