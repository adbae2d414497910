"""The operator's process: `python -m kafleet_operator`, configured by `KAFLEET_*` (see `settings.py`)."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any, cast

import kopf
import structlog

from kafleet_operator import handlers
from kafleet_operator.effects.api_server import connect
from kafleet_operator.effects.kafka import Clusters
from kafleet_operator.effects.secrets import Secrets
from kafleet_operator.effects.views import TYPES
from kafleet_operator.errors import KafleetError
from kafleet_operator.logs import configure_logs
from kafleet_operator.reconciling import Reconciler
from kafleet_operator.serving import served
from kafleet_operator.settings import InvalidSetting, Settings, read_settings


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, which end it within moments."""
    api = await connect()
    secrets = Secrets(api, settings.secrets_folder)
    clusters = Clusters(settings.connection, secrets, settings.observe_seconds)
    reconciler = Reconciler(settings, api, clusters.connect)
    try:
        async with served(_host(), settings.http_port, ills=reconciler.ills, lacks=reconciler.lacks):
            await kopf.operator(
                registry=handlers.registry,
                settings=_kopf_settings(),
                memo=kopf.Memo(reconciler=reconciler),
                standalone=True,
                # For peers, of which there are none; kopf's guess fails for a user without a passwd entry.
                identity=cast("Any", "kafleet"),
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
            )
    finally:
        await api.close()


def _host() -> str:
    """Return where to be asked: in a pod by the kubelet and Prometheus, elsewhere by this machine only."""
    return "0.0.0.0" if "KUBERNETES_SERVICE_HOST" in os.environ else "127.0.0.1"  # noqa: S104  pods have one address


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # the resource definition is there once the first list succeeded
    settings.watching.chunk_size = 500
    for watched in TYPES.values():
        if watched.selector:
            settings.watching.label_selectors[watched.group, watched.version, watched.plural] = (
                watched.selector
            )
    return settings


def main() -> int:
    """Run the operator; return the process's exit code."""
    try:
        settings = read_settings(os.environ)
    except InvalidSetting as error:
        print(error, file=sys.stderr)  # noqa: T201  there is no log without settings
        return 2
    configure_logs(settings.log_level)
    try:
        asyncio.run(run(settings))
    except KafleetError as error:
        structlog.get_logger("kafleet").error("cannot start", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
