"""`python3 -m kafleet` under `kafleet dev`: the same, but it never outlives its parent."""

from __future__ import annotations

import os
import signal
import sys
import threading


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)  # the broker has gone with it


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=_end_with_parent, daemon=True).start()

    from kafleet.running import main

    sys.exit(main())
