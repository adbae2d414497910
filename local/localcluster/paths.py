"""Folders: sources in the checkout, what can be made again in the cache, the node's data in the state."""

import os
from pathlib import Path

LOCAL = Path(__file__).resolve().parent.parent
PROJECT = LOCAL.parent
USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE = Path(os.environ.get("KAFLEET_CACHE") or USER_CACHE / "kafleet").absolute()
STATE = Path(os.environ.get("KAFLEET_LOCAL_STATE") or "/var/lib/kafleet-local").absolute()
KUBECONFIG = STATE / "kubeconfig"
