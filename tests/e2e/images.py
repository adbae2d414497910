"""Images in the cluster, under other names."""

from __future__ import annotations

from demo.cluster import local


def tag(image: str, name: str) -> None:
    """Give an image in the cluster another name, which may be taken already."""
    local("shell", "ctr", "--namespace", "k8s.io", "images", "tag", "--force", image, name)
