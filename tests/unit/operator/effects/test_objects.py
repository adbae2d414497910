"""Writing owned objects without ever taking, or bringing back, what is not ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from unit.operator.fakes import FakeApi
from virtual import run

from kafleet_operator.effects.objects import Objects
from kafleet_operator.effects.views import View
from kafleet_operator.errors import Conflict
from kafleet_operator.planning.fleets import Owner

Json = dict[str, Any]
OWNER = Owner("kafleet.dev/v1alpha1", "AgentGroup", "support", "triage", uid="ours")
NAME = ("ConfigMap", "triage-workers")
LABELS = {"kafleet.dev/kind": "AgentGroup", "kafleet.dev/resource": "triage"}


def config_map(*, owner: str | None = "ours", name: str = "triage", **labels: str) -> Json:
    metadata: Json = {"name": NAME[1], "namespace": "support", "labels": labels}
    if owner:
        reference = {"apiVersion": "kafleet.dev/v1alpha1", "kind": "AgentGroup", "name": name, "uid": owner}
        metadata["ownerReferences"] = [{**reference, "controller": True}]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}}


def scene() -> tuple[FakeApi, View, Objects]:
    api, view = FakeApi(), View()
    as_api: Any = api
    return api, view, Objects(as_api, view, OWNER)


def test_a_known_object_is_written_under_its_uid() -> None:
    """So that a write to one that is gone fails instead of making another."""

    async def story() -> None:
        api, view, objects = scene()
        view.put(api.put(config_map()))
        api.objects.clear()

        with pytest.raises(Conflict):
            await objects.apply(config_map())
        assert api.objects == {}

    run(story())


def test_what_was_written_is_known_before_the_watch_tells() -> None:
    """The next plan must not write it again."""

    async def story() -> None:
        _, _, objects = scene()
        body = await objects.apply(config_map())

        assert objects.owned()[NAME]["metadata"]["uid"] == body["metadata"]["uid"]

    run(story())


@pytest.mark.parametrize(
    ("body", "holder"),
    [
        (config_map(owner=None), "nobody that Kafleet knows"),
        (config_map(owner="theirs", name="other"), "AgentGroup support/other"),
        (config_map(owner="before"), "an earlier AgentGroup support/triage that is being deleted"),
    ],
)
@pytest.mark.parametrize("is_watched", [True, False])
def test_holders_of_wanted_names_are_named(body: Json, holder: str, is_watched: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Whether the watch shows the object, because it has our label, or making it finds it there."""

    async def story() -> None:
        api, view, objects = scene()
        kept = api.put(body)
        if is_watched:
            view.put(kept)
        else:
            with pytest.raises(Conflict):
                await objects.apply(config_map())

        assert await objects.foreign([NAME]) == {NAME: holder}
        assert objects.owned() == {}

    run(story())


def test_a_free_name_and_an_own_object_have_no_holder() -> None:
    """Nobody asks for what there is no reason to ask for."""

    async def story() -> None:
        api, view, objects = scene()
        assert await objects.foreign([NAME]) == {}
        view.put(api.put(config_map()))
        assert await objects.foreign([NAME]) == {}
        assert api.requests == []

    run(story())


def test_an_own_object_that_lost_its_label_is_found_and_written() -> None:
    """The watch does not show it any more; making it again finds it."""

    async def story() -> None:
        api, _, objects = scene()
        uid = api.put(config_map())["metadata"]["uid"]
        with pytest.raises(Conflict):
            await objects.apply(config_map())
        assert await objects.foreign([NAME]) == {}
        body = await objects.apply(config_map())

        assert body["metadata"]["uid"] == uid

    run(story())


def test_a_name_that_was_taken_is_used_once_it_is_free() -> None:
    """It is looked at until then."""

    async def story() -> None:
        api, _, objects = scene()
        theirs = api.put(config_map(owner=None))
        with pytest.raises(Conflict):
            await objects.apply(config_map())
        assert NAME in await objects.foreign([NAME])
        api.take(theirs)
        assert await objects.foreign([NAME]) == {}

        assert await objects.apply(config_map())

    run(story())


def test_an_orphan_with_our_labels_is_taken_back() -> None:
    """`kubectl delete --cascade=orphan` leaves them to be taken."""

    async def story() -> None:
        api, view, objects = scene()
        view.put(api.put(config_map(owner=None, **LABELS)))

        assert NAME in objects.owned()

    run(story())


def test_deleting_spares_others_and_what_is_going_already() -> None:
    """And an object that is gone is deleted."""

    async def story() -> None:
        api, view, objects = scene()
        view.put(api.put(config_map(owner="theirs", name="other")))
        await objects.delete(*NAME)
        assert api.writes() == []

        going = config_map()
        going["metadata"]["deletionTimestamp"] = "2026-11-23T06:00:00Z"
        view.put(api.put(going))
        await objects.delete(*NAME)
        assert api.writes() == []

        view.put(api.put(config_map()))
        api.objects.clear()
        await objects.delete(*NAME)
        assert objects.owned() == {}
        await asyncio.sleep(0)

    run(story())
