"""Folders: sources in the checkout, what can be made again in the cache, the node's data in the state."""

import os
from pathlib import Path

LOCAL = Path(__file__).resolve().parent.parent
PROJECT = LOCAL.parent
USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE = Path(os.environ.get("KAFLEET_CACHE") or USER_CACHE / "kafleet").absolute()
# Only Docker's clusters can be run by other users than root, and of theirs nothing but a kubeconfig is kept.
USUAL_STATE = (
    "/var/lib/kafleet-local" if os.geteuid() == 0 else Path.home() / ".local" / "state" / "kafleet-local"
)
STATE = Path(os.environ.get("KAFLEET_LOCAL_STATE") or USUAL_STATE).absolute()
KUBECONFIG = STATE / "kubeconfig"
