"""The chart over time: upgraded, uninstalled, installed again; fleets stay, or go as they were told to."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING, Any

from documents import commands
from integration.releases import (
    CHART,
    HERE,
    OWNED_KINDS,
    Cluster,
    Json,
    await_condition,
    group,
    owned_by,
    serving,
)
from integration.servers import PROJECT, eventually

from kafleet_operator.effects.views import OWNED

if TYPE_CHECKING:
    from pathlib import Path


def fleet_of(cluster: Cluster, name: str) -> Json:
    """Return what an upgrade must not touch: identities, generations, specs."""
    items = cluster.read(f"agentgroups,{OWNED_KINDS}", HERE)["items"]
    return {
        f"{item['kind']} {item['metadata']['name']}": (
            item["metadata"]["uid"],
            item["metadata"].get("generation"),
            item.get("spec"),
            item.get("data"),
        )
        for item in items
        if item["metadata"]["name"].startswith(name)
    }


def previous_chart(folder: Path) -> Path:
    """Return the chart as the last commit had it that had another; the latest one where that is not known."""
    git = ("git", "-C", PROJECT)
    place = CHART.relative_to(PROJECT)

    def run(*words: object, **more: Any) -> subprocess.CompletedProcess[bytes]:  # noqa: ANN401 - subprocess' own
        return subprocess.run([*git, *map(str, words)], stdout=subprocess.PIPE, check=False, **more)

    commits = run("log", "--format=%H", "--max-count=50", "--", place).stdout.decode().split()
    others = (commit for commit in commits if run("diff", "--quiet", commit, "--", place).returncode)
    archive = run("archive", next(others, "HEAD"), place).stdout
    subprocess.run(["tar", "-xC", folder], input=archive, check=True)
    return folder / place


def documented(command: str) -> list[str]:
    """Return the words of a command that the operations page shows just so."""
    shown = commands(command.split(maxsplit=1)[0])
    assert command in {each.text for each in shown if each.place.startswith("docs/operations.md:")}
    return shlex.split(command)


def test_upgrade_from_the_chart_before_leaves_fleets_alone(cluster: Cluster, tmp_path: Path) -> None:
    """As the operations page says; the operator of the new release goes on with what it finds."""
    cluster.install(chart=previous_chart(tmp_path))
    cluster.kubectl("apply", "--filename=-", given=group("steady"))
    with serving(cluster):
        eventually(lambda: "Deployment" in {kind for kind, _, _ in owned_by(cluster, "steady")})
    before = fleet_of(cluster, "steady")
    assert len(before) == 1 + len(OWNED)

    cluster.run(
        *documented(
            "helm upgrade kafleet charts/kafleet --namespace kafleet-system --reset-then-reuse-values"
        )
    )

    with serving(cluster):
        cluster.kubectl("apply", "--filename=-", given=group("newer"))
        await_condition(cluster, "newer", "TopicsReady", "True")
    assert fleet_of(cluster, "steady") == before
    cluster.kubectl("delete", "agentgroup", "steady", "newer", HERE)


def test_fleets_outlive_the_release_and_wait_for_the_next_to_clean_up(cluster: Cluster) -> None:
    """Uninstalling in the wrong order loses nothing: what must be cleaned up stays until somebody does."""
    cluster.install()
    cluster.kubectl("apply", "--filename=-", given=group("kept"))
    cluster.kubectl("apply", "--filename=-", given=group("waiting", deletionPolicy="Delete"))
    with serving(cluster):
        await_condition(cluster, "kept", "TopicsReady", "True")
        await_condition(cluster, "waiting", "TopicsReady", "True")
    kept = fleet_of(cluster, "kept")

    cluster.uninstall()
    cluster.kubectl("delete", "agentgroup", "waiting", HERE, "--wait=false")

    assert fleet_of(cluster, "kept") == kept
    (finding,) = (each.text for each in commands("kubectl") if "deletionTimestamp" in each.text)
    assert cluster.run(*shlex.split(finding)) == "support/waiting\n"
    cluster.install()
    with serving(cluster):
        cluster.kubectl("wait", "agentgroup/waiting", "--for=delete", HERE, "--timeout=300s")
    assert fleet_of(cluster, "kept") == kept


def test_uninstalling_in_the_documented_order_leaves_nothing(cluster: Cluster) -> None:
    cluster.install(rbac={"secretNamespaces": ["support"]})
    cluster.kubectl("apply", "--filename=-", given=group("last", deletionPolicy="Delete"))
    with serving(cluster):
        await_condition(cluster, "last", "TopicsReady", "True")
        cluster.run(*documented("kubectl delete agentgroups --all --all-namespaces --cascade=foreground"))
    cluster.run(*documented("helm uninstall kafleet --namespace kafleet-system"))
    cluster.run(*documented("kubectl delete crd agentgroups.kafleet.dev"))

    rights = "roles,rolebindings,clusterroles,clusterrolebindings"
    kinds = f"all,secrets,crds,{rights},{OWNED_KINDS}"

    def left() -> list[Json]:
        labels = ("app.kubernetes.io/instance=kafleet", "kafleet.dev/resource")
        found = [cluster.read(kinds, "--all-namespaces", f"--selector={label}") for label in labels]
        return [item for each in found for item in each["items"]]

    def nothing() -> bool:
        assert [(each["kind"], each["metadata"]["name"]) for each in left()] == []
        return True

    eventually(nothing)
