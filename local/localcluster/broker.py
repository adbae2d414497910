"""The local Kafka: its jars, and its manifest applied to whichever cluster is there."""

import time
from pathlib import Path

from localcluster import caching, programs
from localcluster.paths import CACHE, LOCAL
from localcluster.programs import Failed, run, step, succeeds

MANIFEST = LOCAL / "kafka.yaml"
IMAGE_LINE = "image: kafleet.local/kafka\n"
POM = LOCAL / "kafka" / "pom.xml"
START_SECONDS = 180
# Pinned, because Maven would otherwise ask for whatever its own version calls the default.
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy-dependencies"


def jars() -> Path:
    """Return the folder of the broker's jars, fetching them with Maven if it is not in the cache."""
    return caching.cached(CACHE / "kafka" / caching.key_of([POM]), fetch)


def fetch(folder: Path) -> None:
    programs.install({"mvn": "maven", "java": "default-jre-headless"})
    with step("fetching Kafka with Maven", "15 s, a minute the first time"):
        run(*("mvn", "-B", "-q", "-f", POM, COPY, f"-DoutputDirectory={folder}", "-DincludeScope=runtime"))


def start(kubectl: list[str], image: str) -> None:
    """Apply the broker's manifest with the image, and wait until the broker serves."""
    manifest = pinned(MANIFEST.read_text(), image)
    with step("starting Kafka", "10 to 20 s"):
        run(*kubectl, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
        run(*kubectl, "-n", "kafka", "rollout", "status", "statefulset/kafka", f"--timeout={START_SECONDS}s")
        # After a restart of the node the stored status still says what was; an answer is proof.
        deadline = time.monotonic() + START_SECONDS
        while not succeeds(*kubectl, "-n", "kafka", "exec", "kafka-0", "--", "/opt/kafka/ready"):
            if time.monotonic() > deadline:
                raise Failed("Kafka does not answer; see `local/cluster kubectl -n kafka logs kafka-0`")
            time.sleep(1)


def pinned(manifest: str, image: str) -> str:
    """Return the manifest with the image's full reference in its one place."""
    if manifest.count(IMAGE_LINE) != 1:
        raise Failed(f"the broker's manifest needs exactly one line {IMAGE_LINE.strip()!r}")
    return manifest.replace(IMAGE_LINE, f"image: {image}\n")
