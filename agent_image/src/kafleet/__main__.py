"""`python3 -m kafleet`: run the agent that the lane file names."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import NoReturn

import structlog
import uvloop

from kafleet.errors import StartError
from kafleet.logs import configure_logs
from kafleet.running import Settings, run

_CANNOT_START = 2


def main() -> NoReturn:
    """Run until SIGTERM. Exit codes: 0 left in good order, 1 could not go on, 2 could not start."""
    settings = Settings.from_environment(os.environ)
    configure_logs(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            code = runner.run(run(settings))
        except StartError as error:
            structlog.get_logger().error("agent cannot start", reason=str(error))
            code = _CANNOT_START
        # Everything is closed by now. A handler that cannot be stopped must not keep the process.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
