"""The commands that the kind path runs; no engine is at hand to run them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from localcluster import kind
from localcluster.programs import Failed

if TYPE_CHECKING:
    from collections.abc import Mapping

NODE = "kafleet-control-plane"


@dataclass
class Programs:
    """Answers as the programs would, and notes what was asked."""

    answers: Mapping[str, str] = field(default_factory=dict)
    failing: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def __call__(self, *words: str | Path) -> str:
        line = " ".join(map(str, words))
        self.asked.append(line)
        if line.startswith(self.failing):
            raise Failed(f"{line} failed")
        return next((answer for start, answer in self.answers.items() if line.startswith(start)), "")


def cluster(programs: Programs, folder: Path) -> kind.Kind:
    return kind.Kind(programs, folder / "kubeconfig", lambda: "kind", lambda: "kubectl")


def test_up_creates_a_cluster_where_there_is_none(tmp_path: Path) -> None:
    programs = Programs()
    config = f"--kubeconfig={tmp_path}/kubeconfig"

    cluster(programs, tmp_path).up()

    assert programs.asked == [
        "kind get clusters",
        f"kind create cluster --name kafleet --wait 180s {config}",
        f"kubectl {config} wait nodes --all --for=condition=Ready --timeout=180s",
    ]


def test_up_starts_a_cluster_that_is_there(tmp_path: Path) -> None:
    programs = Programs({"kind get clusters": "other\nkafleet\n"})

    cluster(programs, tmp_path).up()

    assert programs.asked[1:3] == [
        f"docker start {NODE}",
        f"kind export kubeconfig --name kafleet --kubeconfig={tmp_path}/kubeconfig",
    ]
    assert not any(line.startswith(("kind create", "kind delete")) for line in programs.asked)


def test_up_makes_a_cluster_anew_whose_creation_was_killed(tmp_path: Path) -> None:
    programs = Programs({"kind get clusters": "kafleet\n"}, failing=("kind export kubeconfig",))

    cluster(programs, tmp_path).up()

    verbs = [" ".join(line.split()[:2]) for line in programs.asked if line.startswith("kind")]
    assert verbs == ["kind get", "kind export", "kind delete", "kind create"]


@pytest.mark.parametrize(
    ("purge", "ending"), [(False, f"docker stop {NODE}"), (True, "kind delete cluster --name kafleet")]
)
def test_down_stops_the_cluster_and_purge_deletes_it(tmp_path: Path, ending: str, *, purge: bool) -> None:
    programs = Programs({"kind get clusters": "kafleet\n"})
    (tmp_path / "kubeconfig").touch()

    cluster(programs, tmp_path).down(purge=purge)

    assert programs.asked[-1].startswith(ending)
    assert not (tmp_path / "kubeconfig").exists()


def test_down_of_nothing_asks_for_nothing(tmp_path: Path) -> None:
    programs = Programs({"kind get clusters": "other\n"})

    cluster(programs, tmp_path).down(purge=True)

    assert programs.asked == ["kind get clusters"]


def test_images_are_built_by_docker_and_loaded_as_archives(tmp_path: Path) -> None:
    programs = Programs({f"docker exec {NODE} ctr": "kafleet.local/agent:1\nsha256:ab\n"})
    made = cluster(programs, tmp_path)

    made.builder().build("kafleet.local/operator:1", Path("Dockerfile"), Path("/src"), Path("/x.tar"))
    made.load_image(Path("/x.tar"))

    assert "kafleet.local/agent:1" in made.images()
    assert programs.asked[:3] == [
        "docker build --quiet --file Dockerfile --tag kafleet.local/operator:1 /src",
        "docker save --output /x.tar kafleet.local/operator:1",
        "kind load image-archive /x.tar --name kafleet",
    ]


def test_docker_without_an_engine_is_no_docker() -> None:
    assert kind.docker_answers(Programs({"docker info": "28.2.2\n"}))
    assert not kind.docker_answers(Programs(failing=("docker info",)))
