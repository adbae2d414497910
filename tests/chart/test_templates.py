from __future__ import annotations

import subprocess

import pytest
import yaml
from chart.helm import CHART, EVERYTHING, NAMESPACED, REPOSITORY, REQUIRED, Helm, Json

from kafleet_operator.settings import Settings, read_settings


def pod_of(helm: Helm, values: Json) -> Json:
    pod: Json = helm.template(values).one("Deployment")["spec"]["template"]
    return pod


def container_of(helm: Helm, values: Json) -> Json:
    (container,) = pod_of(helm, values)["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def environment_of(helm: Helm, values: Json) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container_of(helm, values)["env"]}


@pytest.mark.parametrize("values", [REQUIRED, NAMESPACED, EVERYTHING], ids=["least", "namespaced", "all"])
def test_chart_passes_lint(helm: Helm, values: Json) -> None:
    done = helm.run("lint", "--strict", str(CHART), values=values)

    assert done.returncode == 0, done.stdout
    assert "missing required value" not in done.stderr


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("kafka", "kafka.bootstrapServers is required: name the brokers that agents use"),
        ("image", "image.repository is required: no image is published yet"),
        ("agentImage", "agentImage.repository is required: no image is published yet"),
    ],
)
def test_missing_value_is_refused_with_the_way_out(helm: Helm, missing: str, message: str) -> None:
    values = {key: value for key, value in REQUIRED.items() if key != missing}

    assert message in helm.refusal(values)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"imgae": {}}, "imgae"),
        ({"image": {"registry": "x"}}, "/image"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"kafka": {"bootstrapServers": "kafka"}}, "/kafka/bootstrapServers"),
        ({"kafka": {"bootstrapServers": "a:9092, b:9092"}}, "/kafka/bootstrapServers"),
        ({"watch": {"namespaces": "support"}}, "/watch/namespaces"),
        ({"watch": {"namespaces": ["Support"]}}, "/watch/namespaces/0"),
        ({"watch": {"namespaces": ["a", "a"]}}, "/watch/namespaces"),
        ({"resyncSeconds": 0}, "/resyncSeconds"),
        ({"observeSeconds": "5"}, "/observeSeconds"),
        ({"logLevel": "verbose"}, "/logLevel"),
        ({"resources": {"request": {}}}, "/resources"),
        ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
        ({"serviceAccount": {"create": "yes"}}, "/serviceAccount/create"),
        ({"crds": {"keep": True}}, "/crds"),
        ({"image": {"tag": "a b"}}, "/image/tag"),
        ({"image": {"digest": "sha256:0"}}, "/image/digest"),
        ({"extraEnv": [{"name": "KAFLEET_LOG_LEVEL", "value": "debug"}]}, "/extraEnv/0/name"),
        ({"tolerations": [{"key": "dedicated", "operator": "Sometimes"}]}, "/tolerations/0/operator"),
        ({"affinity": {"nodes": {}}}, "/affinity"),
        ({"podLabels": {"team": "a b"}}, "/podLabels/team"),
        ({"networkPolicy": {"apiServerPorts": []}}, "/networkPolicy/apiServerPorts"),
        ({"rbac": {"secretNamespaces": ["*"]}}, "/rbac/secretNamespaces/0"),
    ],
)
def test_value_outside_the_schema_is_refused_by_its_path(helm: Helm, wrong: Json, path: str) -> None:
    assert path in helm.refusal(REQUIRED | wrong)


@pytest.mark.parametrize("servers", ["a:9092", "a.b.svc:9092,c:9093", "[fd00::1]:9092"])
def test_broker_lists_are_taken_as_they_are(helm: Helm, servers: str) -> None:
    environment = environment_of(helm, REQUIRED | {"kafka": {"bootstrapServers": servers}})

    assert servers == environment["KAFLEET_BOOTSTRAP_SERVERS"]


@pytest.mark.parametrize("values", [REQUIRED, EVERYTHING], ids=["least", "all"])
def test_pod_is_restricted(helm: Helm, values: Json) -> None:
    """The operator runs in a namespace that enforces the restricted standard, and cannot write."""
    pod = pod_of(helm, values)["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all("hostPort" not in port for port in container["ports"])


def test_user_ids_can_be_left_to_the_cluster(helm: Helm) -> None:
    """OpenShift refuses pods that choose their own."""
    ids = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"))

    assert pod_of(helm, REQUIRED | {"podSecurityContext": ids})["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_image_can_be_pinned_by_digest(helm: Helm) -> None:
    digest = f"sha256:{'a' * 64}"
    values = REQUIRED | {name: {"repository": "a/b", "digest": digest} for name in ("image", "agentImage")}

    assert container_of(helm, values)["image"] == f"a/b@{digest}"
    assert environment_of(helm, values)["KAFLEET_AGENT_IMAGE"] == f"a/b@{digest}"


def test_operator_talks_to_nobody_else_by_its_network_policy(helm: Helm) -> None:
    values = REQUIRED | {
        "kafka": {"bootstrapServers": "a:9092,[fd00::1]:9093,b:9092"},
        "networkPolicy": {"enabled": True, "extraEgress": [{"ports": [{"port": 9999}]}]},
    }
    rendered = helm.template(values)
    policy, deployment = rendered.one("NetworkPolicy")["spec"], rendered.one("Deployment")["spec"]
    (container,) = deployment["template"]["spec"]["containers"]

    assert policy["podSelector"] == deployment["selector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (ingress,) = policy["ingress"]
    assert "from" not in ingress
    assert {port["port"] for port in ingress["ports"]} <= {port["name"] for port in container["ports"]}
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [
        *(53, 53),
        *(443, 6443),
        *(9092, 9093),
        9999,
    ]
    assert all("to" not in rule for rule in policy["egress"])
    assert helm.template(REQUIRED).of("NetworkPolicy") == []


def test_common_labels_are_on_everything_and_replace_none_of_the_charts(helm: Helm) -> None:
    labels = {"cost": "platform", "app.kubernetes.io/managed-by": "nobody"}

    for item in helm.template(REQUIRED | {"commonLabels": labels}).objects:
        assert item["metadata"]["labels"]["cost"] == "platform"
        assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


@pytest.mark.parametrize(
    ("namespaces", "tried"), [([], "kafleet-system"), (["support", "sales"], "support")], ids=["all", "named"]
)
def test_helm_test_tries_a_namespace_that_is_watched(helm: Helm, namespaces: list[str], tried: str) -> None:
    rendered = helm.template(REQUIRED | {"watch": {"namespaces": namespaces}})
    hooks = {item["kind"]: item for item in rendered.hooks}
    (container,) = hooks["Pod"]["spec"]["containers"]

    assert sorted(hooks) == ["Pod", "Role", "RoleBinding", "ServiceAccount"]
    assert {item["metadata"]["annotations"]["helm.sh/hook"] for item in rendered.hooks} == {"test"}
    assert container["image"] == "registry.test/operator:1"
    assert container["command"][-1] == tried
    assert hooks["Role"]["metadata"]["namespace"] == hooks["RoleBinding"]["metadata"]["namespace"] == tried
    (subject,) = hooks["RoleBinding"]["subjects"]
    assert hooks["Pod"]["spec"]["serviceAccountName"] == subject["name"]
    assert hooks["Pod"]["metadata"]["namespace"] == subject["namespace"] == "kafleet-system"
    selector = rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= hooks["Pod"]["metadata"]["labels"].items()


def test_never_two_operators_at_once(helm: Helm) -> None:
    spec = helm.template(REQUIRED).one("Deployment")["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_values_reach_the_operator(helm: Helm) -> None:
    assert read_settings(environment_of(helm, EVERYTHING)) == Settings(
        bootstrap_servers="kafka.kafka.svc:9092",
        agent_image="registry.test/agent:2",
        agent_image_pull_policy="Never",
        namespaces=("support", "sales"),
        service_account="kafleet-system:robot",
        resync_seconds=60,
        observe_seconds=2,
        log_level="debug",
    )
    container = container_of(helm, EVERYTHING)
    assert container["image"] == "registry.test/operator:1"
    assert container["imagePullPolicy"] == "Always"


def test_defaults_of_the_chart_are_those_of_the_operator(helm: Helm) -> None:
    assert read_settings(environment_of(helm, REQUIRED)) == Settings(
        bootstrap_servers="kafka.kafka.svc:9092",
        agent_image="registry.test/agent:2",
        service_account="kafleet-system:kafleet",
        secrets_role="kafleet-system:kafleet:secrets",
    )


def test_images_default_to_the_version_of_the_chart(helm: Helm) -> None:
    values = REQUIRED | {"image": {"repository": "a/b"}, "agentImage": {"repository": "c/d"}}
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]

    assert container_of(helm, values)["image"] == f"a/b:{version}"
    assert environment_of(helm, values)["KAFLEET_AGENT_IMAGE"] == f"c/d:{version}"


def test_every_probe_asks_the_operator_how_it_is(helm: Helm) -> None:
    container = container_of(helm, REQUIRED)
    (port,) = container["ports"]

    assert str(port["containerPort"]) == environment_of(helm, REQUIRED)["KAFLEET_HTTP_PORT"]
    paths = {"startupProbe": "/healthz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}


def test_crds_are_the_generated_ones_kept_on_uninstall(helm: Helm) -> None:
    generated = [yaml.safe_load(path.read_text()) for path in sorted((REPOSITORY / "crds").glob("*.yaml"))]
    assert generated
    for crd in generated:
        crd["metadata"].setdefault("annotations", {})["helm.sh/resource-policy"] = "keep"

    rendered = helm.template(REQUIRED).of("CustomResourceDefinition")

    for crd in rendered:
        assert crd["metadata"].pop("labels")["app.kubernetes.io/managed-by"] == "Helm"
    assert rendered == generated


def test_chart_lists_the_kinds_it_brings() -> None:
    """For chart registries, which read it from the annotations."""
    listed = yaml.safe_load(
        yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]["artifacthub.io/crds"]
    )
    crds = [yaml.safe_load(path.read_text()) for path in sorted((REPOSITORY / "crds").glob("*.yaml"))]

    assert [(each["kind"], each["version"], each["name"]) for each in listed] == [
        (crd["spec"]["names"]["kind"], crd["spec"]["versions"][0]["name"], crd["metadata"]["name"])
        for crd in crds
    ]


def test_crds_can_be_left_out(helm: Helm) -> None:
    rendered = helm.template(REQUIRED | {"crds": {"install": False}})

    assert rendered.of("CustomResourceDefinition") == []


def test_pod_labels_cannot_break_the_selector(helm: Helm) -> None:
    labels = {"app.kubernetes.io/name": "mine", "team": "platform"}
    spec = helm.template(REQUIRED | {"podLabels": labels}).one("Deployment")["spec"]

    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["template"]["metadata"]["labels"]["team"] == "platform"


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("kafleet", {}, "kafleet"),
        ("prod", {}, "prod-kafleet"),
        ("my-kafleet", {}, "my-kafleet"),
        ("prod", {"nameOverride": "fleets"}, "prod-fleets"),
        ("prod", {"fullnameOverride": "agents"}, "agents"),
        ("r" * 53, {"nameOverride": "n" * 63}, "r" * 53 + "-" + "n" * 9),
    ],
)
def test_names_follow_the_release(helm: Helm, release: str, values: Json, name: str) -> None:
    rendered = helm.template(REQUIRED | values, release=release)

    assert rendered.one("Deployment")["metadata"]["name"] == name
    assert rendered.one("ServiceAccount")["metadata"]["name"] == name
    assert rendered.one("ClusterRoleBinding")["metadata"]["name"] == f"kafleet-system:{name}"


def test_every_object_says_what_it_belongs_to(helm: Helm) -> None:
    for item in helm.template(NAMESPACED).objects:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "kafleet", item
        assert labels["app.kubernetes.io/managed-by"] == "Helm", item


def test_notes_say_what_to_do_next(helm: Helm) -> None:
    done = helm.run(
        "install", "prod", str(CHART), "--dry-run=client", "--namespace", "agents", values=NAMESPACED
    )

    assert done.returncode == 0, done.stderr
    notes = done.stdout.split("NOTES:\n")[1]
    assert "watches support, sales" in notes
    assert "kubectl -n agents rollout status deployment/prod-kafleet" in notes
    assert "kubectl get kafleet --all-namespaces" in notes


def test_package_carries_the_crds(helm: Helm) -> None:
    done = helm.run("package", str(CHART), "--destination", str(helm.home))

    assert done.returncode == 0, done.stderr
    (package,) = helm.home.glob("kafleet-*.tgz")
    names = subprocess.run(["tar", "-tzf", package], capture_output=True, text=True, check=True).stdout
    for path in (REPOSITORY / "crds").glob("*.yaml"):
        assert f"kafleet/files/crds/{path.name}" in names.splitlines()
