"""Runs the real Helm on the real chart; no cluster is touched."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "kafleet"

REQUIRED: Json = {
    "image": {"repository": "registry.test/operator", "tag": "1"},
    "agentImage": {"repository": "registry.test/agent", "tag": "2"},
    "kafka": {"bootstrapServers": "kafka.kafka.svc:9092"},
}


NAMESPACED: Json = REQUIRED | {"watch": {"namespaces": ["support", "sales"]}}
EVERYTHING: Json = NAMESPACED | {
    "image": {"repository": "registry.test/operator", "tag": "1", "pullPolicy": "Always"},
    "agentImage": {"repository": "registry.test/agent", "tag": "2", "pullPolicy": "Never"},
    "imagePullSecrets": [{"name": "registry"}],
    "resyncSeconds": 60,
    "observeSeconds": 2,
    "logLevel": "debug",
    "resources": {"limits": {"memory": "1Gi"}},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "podAnnotations": {"team": "platform"},
    "podLabels": {"team": "platform"},
    "commonLabels": {"cost": "platform"},
    "priorityClassName": "system-cluster-critical",
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraVolumes": [{"name": "authorities", "configMap": {"name": "authorities"}}],
    "extraVolumeMounts": [{"name": "authorities", "mountPath": "/etc/ssl/private", "readOnly": True}],
    "networkPolicy": {"enabled": True, "ingressFrom": [{"namespaceSelector": {}}]},
    "metrics": {
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "30s"},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True},
    },
    "serviceAccount": {"create": True, "name": "robot", "annotations": {"role": "kafka"}},
    "crds": {"install": False},
    "nameOverride": "fleets",
    "fullnameOverride": "agents",
}

HOOK = "helm.sh/hook"


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a release would apply, and its hooks: what `helm test` would."""

    objects: list[Json]
    hooks: list[Json]

    def of(self, kind: str) -> list[Json]:
        """Return the objects of that kind, in the order of the output; no hooks."""
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind: str) -> Json:
        """Return the only object of that kind."""
        (item,) = self.of(kind)
        return item


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm with a home of its own and no cluster."""

    path: Path
    home: Path
    _printed: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, values: Json | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with `values` on its standard input as `--values -`."""
        return subprocess.run(
            [self.path, *arguments, *(["--values", "-"] if values is not None else [])],
            env={"HOME": str(self.home), "KUBECONFIG": os.devnull, "PATH": os.environ["PATH"]},
            input=yaml.safe_dump(values) if values is not None else None,
            capture_output=True,
            text=True,
            check=False,
        )

    def template(self, values: Json, *, release: str = "kafleet") -> Rendered:
        """Render the chart into namespace kafleet-system; fails the test with Helm's words."""
        wish = json.dumps([release, values])
        if wish not in self._printed:
            done = self.run("template", release, str(CHART), "--namespace", "kafleet-system", values=values)
            assert done.returncode == 0, done.stderr
            self._printed[wish] = done.stdout
        items = [item for item in yaml.load_all(self._printed[wish], yaml.CSafeLoader) if item]
        hooks = [item for item in items if HOOK in item["metadata"].get("annotations", {})]
        return Rendered([item for item in items if item not in hooks], hooks)

    def refusal(self, values: Json) -> str:
        """Return Helm's words about values that must not render."""
        done = self.run("template", "kafleet", str(CHART), values=values)
        assert done.returncode != 0, done.stdout
        return done.stderr
