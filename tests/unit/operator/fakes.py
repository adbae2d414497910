"""The two servers the operator talks to, in memory, at the seams where it talks to them."""

from __future__ import annotations

import asyncio
import copy
from itertools import chain
from typing import TYPE_CHECKING, Any

from kafleet_operator.effects.groups import Ends
from kafleet_operator.effects.references import SOURCES
from kafleet_operator.effects.views import TYPES
from kafleet_operator.errors import Conflict, KafkaUnreachable, NotFound
from kafleet_operator.planning.observations import GroupState, OpenTransaction, TopicState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence

    from kafleet_operator.effects.coordinators import Partition
    from kafleet_operator.errors import KafleetError
    from kafleet_operator.planning.plans import ConfigureTopic, CreateTopic, GrowTopic, ResetOffsets

Json = dict[str, Any]


def agent_group(name: str = "triage", *, uid: str = "", **spec: object) -> Json:
    """Return an AgentGroup as a user writes it; `spec` is merged over a minimal one."""
    return {
        "apiVersion": "kafleet.dev/v1alpha1",
        "kind": "AgentGroup",
        "metadata": {"name": name, "namespace": "support", "uid": uid or f"uid-of-{name}"},
        "spec": {"workers": {"replicas": 2, "agent": {"handler": "triage:agent"}}, **spec},
    }


class FakeApi:
    """An API server that keeps objects, versions and uids, and tells `watch` of every change.

    `requests` names every request; `failure`, while it is set, is what each of them raises.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.requests: list[str] = []
        self.failure: Exception | None = None
        self.watch_failure: Exception | None = None
        self.read_seconds = 0.0
        self.watch: Callable[[str, Json], None] = lambda _change, _body: None
        self._version = 0
        self._log: list[tuple[int, Json]] = []

    # What users do.

    def put(self, body: Json, *, silently: bool = False) -> Json:
        """Create an object, or replace all but its status, as kubectl does; return it as it is kept."""
        known = self.objects.get(_path(body), {})
        return self._write(
            {**body, **({"status": known["status"]} if "status" in known else {})}, silently=silently
        )

    def take(self, body: Json, *, silently: bool = False) -> None:
        """Remove an object and what it owns."""
        uid = body["metadata"]["uid"]
        for path, each in list(self.objects.items()):
            owners = [owner["uid"] for owner in each["metadata"].get("ownerReferences", [])]
            if uid in (each["metadata"]["uid"], *owners):
                self._version += 1
                each["metadata"]["resourceVersion"] = str(self._version)
                self._log.append((self._version, each))
                self._tell("DELETED", path, silently=silently)
                del self.objects[path]

    def find(self, kind: str, name: str) -> Json | None:
        return self.objects.get(TYPES[kind].path("support", name))

    def condition(self, name: str, kind: str) -> tuple[str, str]:
        """Return status and reason of an AgentGroup's condition."""
        body = self.find("AgentGroup", name)
        assert body
        found = next(each for each in body["status"]["conditions"] if each["type"] == kind)
        return found["status"], found["reason"]

    # What the operator does: ApiServer's methods.

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        self._note("GET", path)
        if query is None:
            found = copy.deepcopy(self._expect(path))
            await asyncio.sleep(self.read_seconds)
            return found
        kind = next(type_.kind for type_ in TYPES.values() if type_.path() == path)
        items = [copy.deepcopy(body) for body in self.objects.values() if body["kind"] == kind]
        if "labelSelector" in query:
            name, value = query["labelSelector"].split("=")
            items = [body for body in items if body["metadata"].get("labels", {}).get(name) == value]
        return {"metadata": {"resourceVersion": str(self._version)}, "items": items}

    async def list_metadata(self, path: str, query: Mapping[str, str]) -> Json:
        self._note("LIST", path)
        name = query.get("fieldSelector", "").removeprefix("metadata.name=")
        found = self.objects.get(f"{path}/{name}")
        version = {"resourceVersion": str(self._version)}
        # As the API server: an empty list of metadata has null for its items.
        return {"metadata": version, "items": [copy.deepcopy(found)] if found else None}

    async def watch_metadata(self, path: str, version: str, seconds: int) -> AsyncGenerator[Json]:
        self._note("WATCH", path)
        begun, sent = asyncio.get_running_loop().time(), int(version)
        while asyncio.get_running_loop().time() < begun + seconds:
            if self.watch_failure:
                raise self.watch_failure
            for body in [body for at, body in self._log if _path(body).startswith(path) and at > sent]:
                yield {"type": "MODIFIED", "object": {"metadata": copy.deepcopy(body["metadata"])}}
            sent = self._version
            await asyncio.sleep(0.1)
        yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self._version)}}}

    async def create(self, path: str, body: Json, query: Mapping[str, str] | None = None) -> Json:
        del query
        self._note("POST", path)
        return body

    async def apply(self, path: str, body: Json) -> Json:
        self._note("APPLY", path)
        known = self.objects.get(path.removesuffix("/status"))
        uid = body["metadata"].get("uid")
        if uid and (known is None or known["metadata"]["uid"] != uid):
            raise Conflict(f"{path}: the uid is another")
        if known and "resourceVersion" in body["metadata"]:
            raise Conflict(f"{path}: the version is another")
        base = known or body
        return self._write({**base, **body, "metadata": {**base["metadata"], **body["metadata"]}})

    async def merge(self, path: str, body: Json) -> Json:
        self._note("MERGE", path)
        known = self._expect(path)
        if known["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict(f"{path}: the version is another")
        merged = self._write({**known, "metadata": {**known["metadata"], **body["metadata"]}})
        if "deletionTimestamp" in merged["metadata"] and not merged["metadata"]["finalizers"]:
            self.take(merged)
        return merged

    async def delete(self, path: str, uid: str) -> None:
        self._note("DELETE", path)
        body = self._expect(path)
        if body["metadata"]["uid"] != uid:
            raise Conflict(f"{path}: the uid is another")
        self.take(body)

    def writes(self) -> list[str]:
        return [request for request in self.requests if not request.startswith("GET")]

    def _write(self, body: Json, *, silently: bool = False) -> Json:
        path = _path(body)
        known = self.objects.get(path)
        is_edited = known is None or known.get("spec") != body.get("spec")
        generation = known["metadata"]["generation"] if known else 0
        self._version += 1
        metadata = {
            "creationTimestamp": "2026-11-23T05:00:00Z",
            "uid": f"uid-{self._version}",
            **body["metadata"],
            "generation": generation + is_edited,
            "resourceVersion": str(self._version),
        }
        self.objects[path] = {**body, "metadata": metadata}
        self._log.append((self._version, self.objects[path]))
        return self._tell("MODIFIED" if known else "ADDED", path, silently=silently)

    def _expect(self, path: str) -> Json:
        if path not in self.objects:
            raise NotFound(path)
        return self.objects[path]

    def _note(self, method: str, path: str) -> None:
        self.requests.append(f"{method} {path.partition('/namespaces/support/')[2] or path}")
        if self.failure:
            raise self.failure

    def _tell(self, change: str, path: str, *, silently: bool) -> Json:
        body = copy.deepcopy(self.objects[path])
        if not silently:
            asyncio.get_running_loop().call_soon(self.watch, change, copy.deepcopy(body))
        return body


def _path(body: Json) -> str:
    return {**TYPES, **SOURCES}[body["kind"]].path("support", body["metadata"]["name"])


class FakeKafka:
    """A Kafka, as `effects.kafka.Kafka`: it is its own topics.

    `members` are in every group. Reads take `seconds`; `looks` notes when each began, `at_once` how many went
    on at the same time at most.
    """

    def __init__(self) -> None:
        self.states: dict[str, TopicState] = {}
        self.members: list[str] = []
        self.is_down = False
        self.defect: Exception | None = None
        self.seconds = 0.0
        self.looks: list[float] = []
        self.at_once = 0
        self._looking = 0
        self.topics = self
        self.groups = _FakeGroups(self)
        self.transactions = _FakeTransactions()

    async def observe(self, names: Iterable[str], *, anew: bool) -> dict[str, TopicState | None]:
        del anew
        self._check()
        return {name: self.states.get(name) for name in names}

    async def create(self, steps: Sequence[CreateTopic]) -> dict[str, str | KafleetError]:
        self._check()
        for step in steps:
            state = TopicState(step.name, f"id-{len(self.states)}", step.partitions, 1, step.config)
            self.states[step.name] = state
        return {step.name: self.states[step.name].id for step in steps}

    async def grow(self, steps: Sequence[GrowTopic]) -> dict[str, KafleetError]:
        raise NotImplementedError(steps)

    async def configure(self, steps: Sequence[ConfigureTopic]) -> dict[str, KafleetError]:
        raise NotImplementedError(steps)

    async def delete(self, ids: Mapping[str, str]) -> dict[str, KafleetError]:
        self._check()
        for name in ids:
            self.states.pop(name, None)
        return {}

    async def look(self) -> None:
        """Stand for the reads of one reconcile."""
        self.looks.append(asyncio.get_running_loop().time())
        self._looking += 1
        self.at_once = max(self.at_once, self._looking)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self._looking -= 1
        self._check()

    def _check(self) -> None:
        if self.defect:
            raise self.defect
        if self.is_down:
            raise KafkaUnreachable("no broker answers")


class _FakeGroups:
    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka

    async def members(self, _group: str) -> dict[str, tuple[Partition, ...]]:
        return dict.fromkeys(self._kafka.members, ())

    async def committed(self, _group: str, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        return dict.fromkeys(partitions)

    async def remove(self, _group: str, member_id: str) -> None:
        self._kafka.members.remove(member_id)

    async def observe(
        self, inputs: Mapping[str, Iterable[Partition]], others: Iterable[Partition] = (), *, anew: bool
    ) -> tuple[dict[str, GroupState], Ends]:
        del anew
        await self._kafka.look()
        partitions = {*others, *chain.from_iterable(inputs.values())}
        states = {name: GroupState(name, "Dead") for name in inputs}
        return states, Ends(dict.fromkeys(partitions, (0, 0)))

    async def young_from(self, _ages: Mapping[Partition, int]) -> dict[Partition, int]:
        return {}

    async def reset(self, steps: Iterable[ResetOffsets]) -> dict[str, KafleetError]:
        raise NotImplementedError(steps)

    async def delete(self, _names: Iterable[str]) -> dict[str, KafleetError]:
        return {}


class _FakeTransactions:
    """`left_open` are the transactions there are; `looks` notes whose were looked at."""

    def __init__(self) -> None:
        self.left_open: set[OpenTransaction] = set()
        self.looks: list[str] = []

    async def observe(self, groups: Iterable[str], *, anew: bool) -> dict[str, tuple[OpenTransaction, ...]]:
        del anew
        self.looks += groups
        return {
            group: tuple(sorted(each for each in self.left_open if each.group == group)) for group in groups
        }

    async def end(self, transactions: Iterable[OpenTransaction]) -> dict[str, KafleetError]:
        self.left_open -= set(transactions)
        return {}
