"""What is said in two files is said alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from localcluster import addresses, broker, components, native
from localcluster.programs import Failed

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = dict(
    line.split("=", 1)
    for line in (broker.POM.parent / "server.properties").read_text().splitlines()
    if line and not line.startswith("#")
)


def documents(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = [document for document in yaml.safe_load_all(file.read_text()) if document]
    return {(document["kind"], document["metadata"]["name"]): document for document in found}


def ports(addresses_: str) -> dict[str, int]:
    """Return the port of each listener in a list like `CLUSTER://:9092,HOST://:9094`."""
    return {
        entry.partition("://")[0]: int(entry.rpartition(":")[2]) for entry in addresses_.split(",") if entry
    }


def test_broker_manifest_runs_the_image_that_was_built() -> None:
    text = broker.pinned(broker.MANIFEST.read_text(), "kafleet.local/kafka:abc")

    (stateful_set,) = (doc for doc in yaml.safe_load_all(text) if doc["kind"] == "StatefulSet")
    (container,) = stateful_set["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "kafleet.local/kafka:abc"


def test_manifest_without_a_place_for_the_image_is_refused() -> None:
    with pytest.raises(Failed, match="exactly one line"):
        broker.pinned("image: somebody/else\n", "kafleet.local/kafka:abc")


def test_broker_advertises_each_listener_where_its_service_is() -> None:
    found = documents(broker.MANIFEST)
    (container,) = found["StatefulSet", "kafka"]["spec"]["template"]["spec"]["containers"]
    advertised = container["args"][1].partition("=")[2]
    inside = found["Service", "kafka"]["spec"]["ports"][0]
    outside = found["Service", "kafka-host"]["spec"]["ports"][0]
    listeners = ports(SETTINGS["listeners"])

    assert advertised.split(",")[1:] == [
        f"CLUSTER://kafka.kafka.svc:{inside['port']}",
        f"HOST://$(HOST_IP):{outside['nodePort']}",
    ]
    assert (listeners["CLUSTER"], listeners["HOST"]) == (inside["port"], outside["port"])
    assert ports(advertised).keys() == listeners.keys() - {"CONTROLLER"}


def test_dns_service_has_the_address_that_pods_are_told() -> None:
    found = documents(native.MANIFEST)

    assert found["Service", "kube-dns"]["spec"]["clusterIP"] == addresses.DNS_SERVICE_IP
    kubelet = yaml.safe_load(components.KUBELET)
    assert kubelet["clusterDNS"] == [addresses.DNS_SERVICE_IP]
    (container,) = found["Deployment", "coredns"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == components.COREDNS_IMAGE


def test_group_settings_are_ones_that_the_broker_accepts() -> None:
    """Kafka refuses to start with a value outside its bounds."""
    for setting in ("session.timeout.ms", "heartbeat.interval.ms"):
        assert int(SETTINGS[f"group.consumer.min.{setting}"]) <= int(SETTINGS[f"group.consumer.{setting}"])
    assert int(SETTINGS["group.consumer.heartbeat.interval.ms"]) < int(
        SETTINGS["group.consumer.session.timeout.ms"]
    )
