"""ConfigMaps and Secrets that users reference by name and own themselves: read, hashed, never written.

They carry no label of ours. So each is read once for all resources that refer to it, and again after a
resync; and what a watch of metadata, one a kind and namespace, says of it sooner. Only hashes are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from kafleet_operator.effects.views import TYPES, Type
from kafleet_operator.errors import Conflict, KafleetError, NotAuthorized, NotFound
from kafleet_operator.planning.observations import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kafleet_operator.effects.api_server import ApiServer
    from kafleet_operator.effects.views import Key
    from kafleet_operator.planning.fleets import Json
    from kafleet_operator.planning.observations import Content
    from kafleet_operator.settings import Settings

log = structlog.get_logger("kafleet.references")

SOURCES: Final = {
    "ConfigMap": TYPES["ConfigMap"],
    "Secret": Type("Secret", "", "v1", "secrets"),
}
# What is missing or refused somebody is about to mend; without a watch only a look tells.
RETRY_SECONDS: Final = 10.0
WATCH_SECONDS: Final = 300
REST_SECONDS: Final = 5.0
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

Scope = tuple[str, str]  # kind, namespace


@dataclass(frozen=True, slots=True)
class Known:
    """What was read of an object, and until when (the loop's seconds) it is believed."""

    content: Content | Unknown | None
    until: float


class References:
    """What is known of all that resources refer to; `wake` is called with each user of a changed object."""

    def __init__(self, api: ApiServer, settings: Settings, wake: Callable[[Key], None]) -> None:
        self._api = api
        self._settings = settings
        self._resync_seconds = settings.resync_seconds
        self._wake = wake
        self._uses: dict[Key, frozenset[Key]] = {}
        self._known: dict[Key, Known] = {}
        self._reads: dict[Key, asyncio.Task[Known]] = {}
        self._watches: dict[Scope, asyncio.Task[None]] = {}
        self._begun: dict[Scope, asyncio.Event] = defaultdict(asyncio.Event)
        self._refused: set[Scope] = set()

    async def observe(
        self, resource: Key, wanted: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], Content | Unknown | None]:
        """Return the objects, by kind and name, that a resource refers to: all of them, each time anew."""
        namespace = resource[1]
        keys = {name: (name[0], namespace, name[1]) for name in wanted}
        self._use(resource, frozenset(keys.values()))
        contents = await asyncio.gather(*(self._look(key) for key in keys.values()))
        return dict(zip(keys, contents, strict=True))

    def forget(self, resource: Key) -> None:
        """Take note that a resource is gone."""
        self._use(resource, frozenset())

    async def stop(self) -> None:
        """End every watch and read."""
        tasks = [*self._watches.values(), *self._reads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _use(self, resource: Key, keys: frozenset[Key]) -> None:
        self._uses[resource] = keys
        if not keys:
            del self._uses[resource]
        used: set[Key] = set().union(*self._uses.values())
        for key in self._known.keys() - used:
            del self._known[key]
        scopes = {key[:2] for key in used}
        for scope in self._watches.keys() - scopes:
            self._watches.pop(scope).cancel()
            self._refused.discard(scope)
            del self._begun[scope]
        for scope in scopes - self._watches.keys():
            self._watches[scope] = asyncio.create_task(self._watch(scope))

    async def _look(self, key: Key) -> Content | Unknown | None:
        if not _NAME.fullmatch(key[2]):  # it would be another path
            return None
        # What changes after the watch began is told; what changed before is seen by reading.
        await self._begun[key[:2]].wait()
        known = self._known.get(key)
        if known and asyncio.get_running_loop().time() < known.until:
            return known.content
        read = self._reads.get(key)
        if read is None:
            read = self._reads[key] = asyncio.create_task(self._read(key))
        known = await asyncio.shield(read)
        if self._reads.get(key) is read:  # otherwise the object changed in the meantime
            del self._reads[key]
            self._known[key] = known
        if key[:2] in self._refused and not isinstance(known.content, Unknown):
            # Who may read by now may watch as well.
            self._refused.discard(key[:2])
            self._watches[key[:2]].cancel()
            self._watches[key[:2]] = asyncio.create_task(self._watch(key[:2]))
        return known.content

    async def _read(self, key: Key) -> Known:
        kind, namespace, name = key
        try:
            body = await self._api.read(SOURCES[kind].path(namespace, name))
        except NotFound:
            return self._believed(None, RETRY_SECONDS)
        except NotAuthorized as error:
            return self._believed(Unknown(error.reason, self._refusal(key, error)), RETRY_SECONDS)
        except KafleetError as error:
            return self._believed(Unknown(error.reason, str(error)), RETRY_SECONDS)
        return self._believed(_hashed(body), self._resync_seconds * random.uniform(0.9, 1.1))  # noqa: S311 - no secret hangs on it

    def _believed(self, content: Content | Unknown | None, seconds: float) -> Known:
        return Known(content, asyncio.get_running_loop().time() + seconds)

    def _refusal(self, key: Key, error: NotAuthorized) -> str:
        kind, namespace, name = key
        role, account = self._settings.secrets_role, self._settings.service_account
        if kind != "Secret" or not (role and account):
            return str(error)
        return (
            f"the operator may not read Secret {name!r}; allow it in this namespace: "
            f"kubectl create rolebinding kafleet-secrets --namespace={namespace} "
            f"--clusterrole={role} --serviceaccount={account}"
        )

    async def _watch(self, scope: Scope) -> None:
        """Watch one kind in one namespace for ever; where it is refused, reading has to do."""
        while True:
            rest_seconds = REST_SECONDS * random.uniform(0.5, 1)  # noqa: S311 - no secret hangs on it
            try:
                await self._watch_once(scope)
            except NotAuthorized:
                self._refused.add(scope)
                rest_seconds = self._resync_seconds
            except KafleetError as error:
                log.info("watch ended; trying again", kind=scope[0], namespace=scope[1], error=str(error))
            except Exception:
                log.exception("watch ended; trying again", kind=scope[0], namespace=scope[1])
            self._begun[scope].set()
            await asyncio.sleep(rest_seconds)

    async def _watch_once(self, scope: Scope) -> None:
        """Watch from now on until a watch cannot go on where it ended."""
        kind, namespace = scope
        path = SOURCES[kind].path(namespace)
        version = (await self._api.list_metadata(path, {"limit": "1"}))["metadata"]["resourceVersion"]
        self._begun[scope].set()
        for key in [key for key in (*self._known, *self._reads) if key[:2] == scope]:
            self._changed(key)
        with contextlib.suppress(Conflict):  # too old a version
            while True:
                async with contextlib.aclosing(
                    self._api.watch_metadata(path, version, WATCH_SECONDS)
                ) as events:
                    async for event in events:
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            self._changed((kind, namespace, event["object"]["metadata"]["name"]))

    def _changed(self, key: Key) -> None:
        self._known.pop(key, None)
        self._reads.pop(key, None)
        for resource, used in self._uses.items():
            if key in used:
                self._wake(resource)


def _hashed(body: Json) -> Content:
    """Return a hash a key. A Secret's uid is in its hashes, so that trying values out does not find one."""
    salt = body["metadata"]["uid"] if "type" in body else ""
    values: dict[str, Any] = {**(body.get("data") or {}), **(body.get("binaryData") or {})}
    return {
        key: hashlib.sha256(f"{salt}/{value}".encode()).hexdigest()[:16]
        for key, value in sorted(values.items())
    }
