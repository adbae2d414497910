"""What kopf calls: nothing here decides or does anything, it only passes on.

Only `on.event` is used: it sets no finalizer and no annotation, and says that something changed; what, the
loop sees for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kopf

from kafleet_operator.effects.closing import closing_at_once
from kafleet_operator.effects.views import TYPES

if TYPE_CHECKING:
    import ssl

    from kafleet_operator.reconciling import Reconciler


registry = kopf.OperatorRegistry()


async def pass_on(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401 - kopf's own arguments
    reconciler: Reconciler = memo.reconciler
    reconciler.saw(event["type"], dict(event["object"]))


for watched in TYPES.values():
    kopf.on.event(watched.group, watched.version, watched.plural, id=watched.plural, registry=registry)(
        pass_on
    )


@kopf.on.startup(registry=registry)
async def start(memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401 - kopf's own arguments
    await memo.reconciler.start()


@kopf.on.cleanup(registry=registry)
async def stop(memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401 - kopf's own arguments
    await memo.reconciler.stop()


class _Login(kopf.ConnectionInfo):
    def as_ssl_context(self) -> ssl.SSLContext:
        return closing_at_once(super().as_ssl_context())


@kopf.on.login(registry=registry)
def log_in(**arguments: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 - kopf's own arguments
    """Look where `api_server.connect` looks."""
    found = kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)
    return found and _Login(**vars(found))
