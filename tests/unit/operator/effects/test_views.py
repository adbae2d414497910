"""The view keeps the newest of everything, in whatever order news arrives."""

from __future__ import annotations

from typing import Any

from kafleet_operator.effects.views import OWNED, TYPES, View, resource_of

Json = dict[str, Any]
KEY = ("AgentGroup", "support", "triage")
LABELS = {"kafleet.dev/kind": "AgentGroup", "kafleet.dev/resource": "triage"}


def body(kind: str = "Deployment", *, version: int, uid: str = "1", name: str = "triage-workers") -> Json:
    metadata = {"name": name, "namespace": "support", "uid": uid, "resourceVersion": str(version)}
    return {"kind": kind, "metadata": {**metadata, "labels": LABELS, "managedFields": [{}]}}


def test_older_news_is_no_news() -> None:
    """Our own write's answer may come before the watch's event about an earlier one."""
    view = View()

    assert view.put(body(version=2)) == {KEY}
    assert view.put(body(version=2)) == set()
    assert view.put(body(version=1)) == set()
    assert view["Deployment", "support", "triage-workers"] == body(version=2) | {
        "metadata": {
            name: each for name, each in body(version=2)["metadata"].items() if name != "managedFields"
        }
    }


def test_what_is_gone_does_not_come_back_by_old_news() -> None:
    """A list or an answer from before the deletion changes nothing."""
    view = View()
    view.put(body(version=2))

    assert view.drop(body(version=5)) == {KEY}
    assert view.put(body(version=4)) == set()
    assert view.members(KEY, OWNED) == []


def test_what_left_the_watch_and_returned_is_seen_again() -> None:
    """An object that loses its label counts as deleted; with the label back it has the same uid."""
    view = View()
    view.put(body(version=2))
    view.drop(body(version=5))

    assert view.put(body(version=6)) == {KEY}
    assert len(view.members(KEY, OWNED)) == 1


def test_the_deletion_of_a_former_object_leaves_the_present_one() -> None:
    """Events of different objects of one name may overtake each other."""
    view = View()
    view.put(body(version=2, uid="1"))
    view.put(body(version=7, uid="2"))

    assert view.drop(body(version=6, uid="1")) == set()
    assert len(view.members(KEY, OWNED)) == 1


def test_a_list_takes_out_what_it_lacks_unless_that_is_newer() -> None:
    """An object made after the list was taken stays."""
    view = View()
    view.put(body(version=2, name="old"))
    view.put(body(version=9, uid="2", name="new"))
    view.put(body(version=3, uid="3", kind="ConfigMap", name="other-type"))

    changed = view.replace(TYPES["Deployment"], None, [], 5)

    assert changed == {KEY}
    assert [each["metadata"]["name"] for each in view.members(KEY, OWNED)] == ["other-type", "new"]


def test_a_list_of_one_namespace_says_nothing_of_others() -> None:
    """The operator may watch a few namespaces only."""
    view = View()
    view.put(body(version=2))

    assert view.replace(TYPES["Deployment"], "elsewhere", [], 5) == set()
    assert len(view.members(KEY, OWNED)) == 1


def test_an_object_belongs_to_its_controller_before_its_labels() -> None:
    """Labels can be edited away; a pod has only them, for its controller is a ReplicaSet."""
    owner = {"apiVersion": "kafleet.dev/v1alpha1", "kind": "AgentGroup", "name": "real", "controller": True}
    replica_set = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "controller": True}
    owned, pod, stranger = body(version=1), body("Pod", version=1), body(version=1)
    owned["metadata"]["ownerReferences"] = [owner]
    pod["metadata"]["ownerReferences"] = [replica_set]
    stranger["metadata"]["labels"] = {}

    assert resource_of(owned) == ("AgentGroup", "support", "real")
    assert resource_of(pod) == KEY
    assert resource_of(stranger) is None


def test_an_object_that_changes_hands_wakes_both() -> None:
    """The one that lost it must make it again."""
    view = View()
    view.put(body(version=1))
    given = body(version=2)
    given["metadata"]["labels"] = {**LABELS, "kafleet.dev/resource": "other"}

    assert view.put(given) == {KEY, ("AgentGroup", "support", "other")}
    assert view.members(KEY, OWNED) == []


def claiming(name: str, version: int, *topics: str) -> Json:
    claims = [{"role": topic, "name": topic} for topic in topics]
    resource = body("AgentGroup", version=version, uid=name, name=name)
    return {**resource, "status": {"topics": claims}}


def test_who_claims_a_topic_is_found_without_looking_at_everybody() -> None:
    """Claims come and go with what the status says, and with the resource."""
    view = View()
    view.put(body(version=1))
    view.put(claiming("one", 2, "a", "b"))
    view.put(claiming("two", 3, "b", "c"))

    def claimants(*topics: str) -> list[str]:
        return [each["metadata"]["name"] for each in view.claimants(topics)]

    assert (claimants("a"), claimants("b"), claimants("x"), claimants()) == (["one"], ["one", "two"], [], [])
    view.put(claiming("one", 4, "c"))
    assert (claimants("a", "b"), claimants("c")) == (["two"], ["one", "two"])
    view.drop(claiming("two", 5))
    assert (claimants("b"), claimants("a", "c")) == ([], ["one"])
