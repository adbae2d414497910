"""What cannot work says why in the status, leaves alone what works, and goes on once it is mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.fleets import AGENT, CODE

if TYPE_CHECKING:
    from demo.cluster import Json
    from e2e.fleets import Fleet

NO_IMAGE = "registry.invalid/none:1"
SECRET = "account"


def test_fleets_that_cannot_start_say_what_they_lack_and_start_when_they_have_it(fleet: Fleet) -> None:
    """Several at once, each with a fault of its own."""
    reads_secret: Json = {
        "name": "WORD",
        "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "word"}},
    }
    faults: dict[str, Json] = {
        "handler": {"handler": "missing:agent"},
        "image": {"image": NO_IMAGE},
        "code": {"code": {"configMap": "no-code"}},
        "secret": {"env": [reads_secret]},
        "everything": {"envFrom": [{"configMapRef": {"name": "no-settings"}}]},
    }
    fleets = {name: fleet.neighbour(name) for name in faults}
    for name, fault in faults.items():
        fleets[name].apply(replicas=1, partitions=2, spec={"workers": {"agent": fault}})

    fleets["handler"].wait_for_reason("AgentsReady", "CrashLooping")
    fleets["handler"].until(
        "the traceback's last line",
        lambda: (
            "ModuleNotFoundError: No module named 'missing'" in message_of(fleets["handler"], "AgentsReady")
        ),
    )
    fleets["image"].until("the image's name", lambda: NO_IMAGE in message_of(fleets["image"], "AgentsReady"))
    allow_as_told(fleets["secret"])
    for name, missing in (
        ("code", "ConfigMap 'no-code'"),
        ("secret", f"Secret '{SECRET}'"),
        ("everything", "ConfigMap 'no-settings'"),
    ):
        message = fleets[name].wait_for_reason("Accepted", "ReferenceNotFound")
        assert missing in message
        assert fleets[name].pods() == []

    fleet.kubectl("create", "secret", "generic", SECRET, "--from-literal=other=x")
    fleets["secret"].until(
        "the missing key's name", lambda: "key 'word'" in message_of(fleets["secret"], "Accepted")
    )

    fleets["handler"].edit({"workers": {"agent": {"handler": "squaring:agent"}}})
    fleets["image"].edit({"workers": {"agent": {"image": None}}})
    fleets["code"].apply_code(AGENT.read_text(), "no-code")
    fleet.kubectl("create", "configmap", "no-settings", "--from-literal=A=b")
    fleet.apply_secret(SECRET, word="whispered")
    for mended in fleets.values():
        mended.wait_ready()
    assert [seen["env"] for seen in fleets["secret"].seen_now()] == ["whispered"]


def test_a_broken_edit_of_the_code_never_stops_the_fleet(fleet: Fleet) -> None:
    fleet.apply(replicas=1)
    fleet.wait_ready()
    (before,) = fleet.pod_names()

    with fleet.watched() as available:
        fleet.apply_code(AGENT.read_text() + "\nagent.task(undefined)\n")
        fleet.until("the reason", lambda: "NameError" in message_of(fleet, "AgentsReady"))
        assert before in fleet.pod_names()
        fleet.send(5)
        fleet.wait_done()
        fleet.apply_code(AGENT.read_text())
        fleet.wait_ready()

    assert fleet.read("configmap", CODE)["data"] == {"squaring.py": AGENT.read_text()}
    assert fleet.verdict().problems == ()
    assert min(available) == 1


def allow_as_told(fleet: Fleet) -> None:
    """Do as the condition says: the operator may read no Secret until somebody of the namespace lets it."""
    message = fleet.wait_for_reason("Accepted", "NotAuthorized")
    _, _, command = message.partition("kubectl ")
    fleet.kubectl(*command.split())


def message_of(fleet: Fleet, condition: str) -> str:
    return str(fleet.condition(condition).get("message", ""))
