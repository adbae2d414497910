"""Builders of Kubernetes objects: plain dicts, whole, ready for server-side apply.

Selector labels never change, and every object carries the hash of what was built, so that a field we stopped
asking for is noticed although it is gone from the manifest.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

from kafleet_operator.planning import lanefiles, names
from kafleet_operator.planning.overlays import overlay, trespasses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kafleet_operator.planning.connections import SecretKey
    from kafleet_operator.planning.fleets import Delivery, Fleet, Json, Lane, Owner

CONTAINER = "agent"
USER_ID = 65532
LEAVING_SECONDS = 20  # what an agent may need for its last commit and for leaving its group


def service_account_for(fleet: Fleet, lane: Lane) -> Json:
    """Return the lane's ServiceAccount: an identity for policies, without a token."""
    return _sealed(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": _metadata(fleet.owner, lane),
            "automountServiceAccountToken": False,
        }
    )


def config_map_for(fleet: Fleet, lane: Lane) -> Json:
    """Return the ConfigMap that holds the lane file."""
    content = json.dumps(lanefiles.lane_file_for(fleet, lane), indent=2, sort_keys=True)
    return _sealed(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _metadata(fleet.owner, lane),
            "data": {lanefiles.FILE_NAME: content + "\n"},
        }
    )


def disruption_budget_for(fleet: Fleet, lane: Lane) -> Json:
    """Return the lane's PodDisruptionBudget: agents leave a few at a time, and never block a drain.

    The percentage is rounded up, so that one agent, or the only one, may always go; those that are not ready
    always may.
    """
    return _sealed(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": _metadata(fleet.owner, lane),
            "spec": {
                "maxUnavailable": "10%",
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": names.selector_labels(fleet.owner, lane.name)},
            },
        }
    )


def network_policy_for(fleet: Fleet, lane: Lane) -> Json:
    """Return the lane's NetworkPolicy: pods of the cluster reach the agents' HTTP port, nobody else anything.

    Egress is left to policies of the user's: one of ours could only ever add to what they allow.
    """
    return _sealed(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(fleet.owner, lane),
            "spec": {
                "podSelector": {"matchLabels": names.selector_labels(fleet.owner, lane.name)},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [{"namespaceSelector": {}}],
                        "ports": [{"protocol": "TCP", "port": lanefiles.HTTP_PORT}],
                    }
                ],
            },
        }
    )


def deployment_for(
    fleet: Fleet,
    lane: Lane,
    *,
    replicas: int,
    references_hash: str | None,
    agent_image: str,
    image_pull_policy: str,
) -> Json:
    """Return the lane's Deployment; `references_hash` changes with what its pods refer to, if anything."""
    template = _template(fleet, lane, agent_image, image_pull_policy)
    if references_hash is not None:
        template["metadata"]["annotations"][names.REFERENCES_HASH] = references_hash
    return _sealed(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _metadata(fleet.owner, lane),
            "spec": {
                "replicas": replicas,
                "revisionHistoryLimit": 2,
                "selector": {"matchLabels": names.selector_labels(fleet.owner, lane.name)},
                # A new agent must have loaded its handler and joined the group before an old one leaves: an
                # edit that breaks the agent's code then never stops the fleet.
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
                },
                "template": overlay(template, lane.agent.pod_template),
            },
        }
    )


def trespasses_of(fleet: Fleet, lane: Lane) -> list[str]:
    """Name the places where a lane's pod template is changed that must stay as the operator makes it."""
    template = _template(fleet, lane, agent_image="", image_pull_policy="")
    laid = overlay(template, lane.agent.pod_template)
    return trespasses(template, laid, container=CONTAINER, folder=lanefiles.FOLDER)


def _template(fleet: Fleet, lane: Lane, agent_image: str, image_pull_policy: str) -> Json:
    return {
        "metadata": {
            "labels": names.labels(fleet.owner, lane.name),
            "annotations": {names.LANE_HASH: hash_of(lanefiles.lane_file_for(fleet, lane))},
        },
        "spec": _pod(fleet, lane, _container(fleet, lane, agent_image, image_pull_policy)),
    }


def _pod(fleet: Fleet, lane: Lane, container: Json) -> Json:
    name = names.object_name(fleet.owner, lane.name)
    volumes: list[Json] = [
        {"name": "lane", "configMap": {"name": name}},
        {"name": "tmp", "emptyDir": {}},
    ]
    secrets = fleet.connection.secret_keys()
    if secrets:
        volumes.append({"name": "secrets", "projected": {"defaultMode": 0o440, "sources": _sources(secrets)}})
    if lane.agent.code_config_map:
        volumes.append({"name": "code", "configMap": {"name": lane.agent.code_config_map}})
    return {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _grace_seconds(lane.delivery),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            # Who may read the Secrets in the pod.
            **({"fsGroup": USER_ID} if secrets else {}),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }


def _container(fleet: Fleet, lane: Lane, agent_image: str, image_pull_policy: str) -> Json:
    agent = lane.agent
    mounts: list[Json] = [
        {"name": "lane", "mountPath": lanefiles.FOLDER, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path in the container, on an emptyDir of its own
    ]
    if agent.code_config_map:
        # Inside the lane's volume: the kubelet makes the mount point there.
        mounts.append({"name": "code", "mountPath": lanefiles.CODE_FOLDER, "readOnly": True})
    if fleet.connection.secret_keys():
        mounts.append({"name": "secrets", "mountPath": lanefiles.SECRETS_FOLDER, "readOnly": True})
    container: Json = {
        "name": CONTAINER,
        "image": agent.image or agent_image,
        "env": [
            {"name": "KAFLEET_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *agent.env,
        ],
        "ports": [{"name": "http", "containerPort": lanefiles.HTTP_PORT, "protocol": "TCP"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
        # Importing a handler may take long; until it is done the other probes say nothing useful.
        "startupProbe": _probe("/healthz", period=1, timeout=5, failures=120),
        "readinessProbe": _probe("/readyz", period=2, timeout=2, failures=3),
        "livenessProbe": _probe("/healthz", period=10, timeout=5, failures=3),
    }
    if not agent.image:
        container["imagePullPolicy"] = image_pull_policy
    if agent.env_from:
        container["envFrom"] = list(agent.env_from)
    if agent.resources:
        container["resources"] = agent.resources
    return container


def _sources(keys: Iterable[SecretKey]) -> list[Json]:
    """Return what a projected volume shows: of each Secret only the keys that are needed."""
    paths: dict[str, dict[str, str]] = {}
    for key in keys:
        paths.setdefault(key.secret, {})[key.key] = lanefiles.secret_path(key)
    return [
        {"secret": {"name": name, "items": [{"key": key, "path": path} for key, path in items.items()]}}
        for name, items in paths.items()
    ]


def _probe(path: str, *, period: int, timeout: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _grace_seconds(delivery: Delivery) -> int:
    # An agent that is told to stop finishes what is in flight, then commits and leaves its group.
    return math.ceil(delivery.task_timeout_seconds + max(delivery.drain_timeout_seconds, LEAVING_SECONDS))


def _metadata(owner: Owner, lane: Lane) -> Json:
    return {
        "name": names.object_name(owner, lane.name),
        "namespace": owner.namespace,
        "labels": names.labels(owner, lane.name),
        "ownerReferences": [
            {
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def _sealed(manifest: Json) -> Json:
    metadata = {**manifest["metadata"], "annotations": {names.MANIFEST_HASH: hash_of(manifest)}}
    return {**manifest, "metadata": metadata}


def hash_of(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return 16 hex digits that change with the value."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
