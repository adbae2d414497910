from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from chart.helm import REPOSITORY, Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm as the local cluster builds it."""
    found = subprocess.run(
        [REPOSITORY / "local" / "cluster", "bin"], stdout=subprocess.PIPE, text=True, check=True
    )
    return Helm(path=Path(found.stdout.strip()) / "helm", home=tmp_path_factory.mktemp("helm"))
