"""An agent with a bug that `CHAOS_PLANTED` names, made from the engine as it is: an oracle must find it.

`early` commits what was read, finished or not; `forgetful` leaves out what is settled above the committed
offset; `late` commits each half minute.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import kafleet.commits
from kafleet.backlogs import Lot
from kafleet.running import main

if TYPE_CHECKING:
    from collections.abc import Collection

    from kafleet.ports import Position


def plant(bug: str) -> None:
    """Put a bug into the engine of this process."""
    match bug:
        case "early":
            Lot.uncommitted = _early  # type: ignore[method-assign,assignment]
        case "forgetful":
            Lot.uncommitted = _forgetful  # type: ignore[method-assign,assignment]
        case "late":
            kafleet.commits.COMMIT_SECONDS = 30.0
        case _:
            raise ValueError(bug)


_uncommitted = Lot.uncommitted


def _early(lot: Lot, now: float, settling: Collection[int] = ()) -> Position | None:
    position = _uncommitted(lot, now, settling)
    return position and position._replace(offset=lot.offsets.next_offset, metadata="")


def _forgetful(lot: Lot, now: float, settling: Collection[int] = ()) -> Position | None:
    position = _uncommitted(lot, now, settling)
    return position and position._replace(metadata="")


if __name__ == "__main__":
    plant(os.environ["CHAOS_PLANTED"])
    main()
