"""`python3 -m kafleet`: run the agent that the lane file names."""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":
    # The first process of a container does not even notice a SIGTERM that nobody listens to, and what follows
    # takes a second to import. Nothing is begun yet, so leaving is all there is to do.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    from kafleet.running import main

    main()
