"""A fleet at a broker that trusts nobody: SCRAM over TLS, exactly the documented ACLs, a rotated password."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from e2e.fleets import Fleet
from e2e.secured import SecuredBroker, secret
from principals import rights_of

if TYPE_CHECKING:
    from demo.cluster import Json

SECRET = "fleet-kafka"


def test_a_fleet_works_by_scram_and_acls_and_goes_on_with_a_new_password(fleet: Fleet) -> None:
    """The operator connects as the resource; it says how to let it read the Secret."""
    secured = SecuredBroker(fleet)
    secured.start()
    secured.set_password("fleet", "first")
    secured.allow(*rights(fleet))
    there = Fleet(fleet.cluster, secured.broker(), fleet.namespace)
    there.apply_object(credentials(secured, "first"))
    there.apply(replicas=1, spec={"connection": connection(secured)})

    message = there.wait_for_reason("Accepted", "NotAuthorized")
    _, kubectl, command = message.partition("kubectl create rolebinding ")
    assert kubectl
    there.kubectl("create", "rolebinding", *shlex.split(command))
    there.wait_ready()
    there.send(3)
    there.wait_done()

    secured.set_password("fleet", "second")
    before = there.pod_names()
    there.apply_object(credentials(secured, "second"))
    there.wait_replaced(before)
    there.wait_ready()
    there.send(3)
    there.wait_done()
    assert there.verdict().problems == ()
    (pod,) = there.pods()
    assert "second" not in there.kubectl("get", "ag,configmap,deployment,pod", "-o", "yaml")
    files = there.kubectl(
        "exec", pod["metadata"]["name"], "-c", "agent", "--", "ls", f"/etc/kafleet/secrets/{SECRET}"
    )
    assert files.split() == ["ca.crt", "password"]


def rights(fleet: Fleet) -> list[object]:
    """Return the ACLs of the one user that both the operator and the agents are here."""
    every = [f"{fleet.namespace}.{fleet.name}.*"]
    topics = ("every topic of a fleet", "every managed topic", "every inbox")
    operator = (*topics, "every group of a fleet", "`<group>/*`")
    agent = {"the inbox": [fleet.tasks], "what it writes": [fleet.results, fleet.dead_letters]}
    return [
        *rights_of("The operator", "fleet", dict.fromkeys(operator, every)),
        *rights_of(
            "An agent", "fleet", {**agent, "its lane": [fleet.group], "`<group>/*`": [f"{fleet.group}/*"]}
        ),
    ]


def credentials(secured: SecuredBroker, password: str) -> Json:
    return secret(
        SECRET,
        {"password": password, "ca.crt": secured.authority.certificate, "unused": "nobody needs to see it"},
    )


def connection(secured: SecuredBroker) -> Json:
    return {
        "bootstrapServers": secured.servers,
        "authentication": {
            "type": "scram-sha-512",
            "username": "fleet",
            "password": {"secret": SECRET, "key": "password"},
        },
        "tls": {"ca": {"secret": SECRET, "key": "ca.crt"}},
    }
