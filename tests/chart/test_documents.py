"""The Helm commands of the documents install what they say."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
import yaml
from documents import REPOSITORY, Block, commands

if TYPE_CHECKING:
    from chart.helm import Helm

INSTALLING = [block for block in commands("helm") if "--install" in block.text]


def test_documents_install_the_chart() -> None:
    assert {block.place.split(":")[0] for block in INSTALLING} >= {
        "docs/getting-started.md",
        "charts/kafleet/README.md",
    }


@pytest.mark.parametrize("block", INSTALLING, ids=lambda block: block.place)
def test_install_command_renders_an_operator(helm: Helm, block: Block) -> None:
    _, upgrade, install, release, chart, *rest = shlex.split(block.text)
    assert (upgrade, install, release) == ("upgrade", "--install", "kafleet")

    done = helm.run("template", release, str(REPOSITORY / chart), *rest)

    assert done.returncode == 0, done.stderr
    kinds = [item["kind"] for item in yaml.safe_load_all(done.stdout) if item]
    assert "Deployment" in kinds
