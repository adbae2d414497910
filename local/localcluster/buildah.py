"""Building images without Docker: a Debian base made by mmdebstrap, Dockerfiles run by buildah."""

import configparser
import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from localcluster import archives, caching, programs
from localcluster.images import FOLDER, Builder
from localcluster.programs import run, step

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv", "usr-is-merged")
LEFT_OUT = ("doc", "info", "locale", "man")
BOOTSTRAP = (
    *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
    # Merged from the start; merging later would bring all of perl along.
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT),
    '--customize-hook=rm -rf "$1"/var/cache/debconf/*-old "$1"/var/log/*',
)
BASE_KEY = caching.key_of([], SUITE, *BOOTSTRAP)
BASE = f"kafleet.local/base:{BASE_KEY}"
# A folder, and so a lock, of its own: it is made while the lock of the images is held.
BASE_FOLDER = FOLDER / "base" / BASE_KEY
APT_SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources")
COMPRESSION = ("--compression-format", "zstd", "--compression-level", "1")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_FILES = (Path("/etc/pip.conf"), Path.home() / ".pip/pip.conf", Path.home() / ".config/pip/pip.conf")
# What of the machine's pip configuration is about where packages come from.
PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


def builder() -> Builder:
    return Builder(BASE, build)


def build(reference: str, dockerfile: Path, context: Path, archive: Path) -> None:
    """Run a Dockerfile on the base image and write the image as an OCI archive."""
    programs.install({"buildah": "buildah", "mmdebstrap": "mmdebstrap"})
    if BASE not in buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        buildah("pull", "--quiet", f"docker-archive:{base_archive()}")
    with secrets() as options:
        buildah(
            *("build", "--quiet", "--isolation", "chroot", "--layers", "--pull-never"),
            *("--build-arg", f"BASE_IMAGE={BASE}", *options),
            *("--file", dockerfile, "--tag", reference, context),
        )
    # Compressed: the node reads all of it each time. OCI: it then skips the layers that it has.
    buildah("push", "--quiet", *COMPRESSION, reference, f"oci-archive:{archive}:{reference}")


def base_archive() -> Path:
    """Return the archive of the base image, making it if it is not in the cache."""

    def make(folder: Path) -> None:
        sources = [name for name in APT_SOURCES if Path(name).exists()]
        with step("making the base image with mmdebstrap", "30 s to 2 min"):
            run(*BOOTSTRAP, SUITE, folder / "root.tar", *sources)
            archives.write(folder / "base.tar", BASE, folder / "root.tar", {"Cmd": ["/bin/sh"]})
        (folder / "root.tar").unlink()

    return caching.cached(BASE_FOLDER, make) / "base.tar"


def buildah(*words: str | Path) -> str:
    """Run buildah with its storage in the cache, in a mount namespace: killed, it leaves no mount behind."""
    with tempfile.TemporaryDirectory(prefix="kafleet-buildah-") as run_root:
        storage = ("--root", FOLDER / "storage", "--runroot", run_root)
        return run("unshare", "--mount", "buildah", *storage, *words)


@contextlib.contextmanager
def secrets() -> Iterator[list[str]]:
    """Hand the machine's package index and certificates to a build as secrets, which no layer keeps."""
    with tempfile.TemporaryDirectory(prefix="kafleet-secrets-") as folder:
        settings = Path(folder, "pip.conf")
        options = ["--secret", f"id=pip.conf,src={settings}"]
        lines = [f"{name} = {value}" for name, value in pip_settings().items()]
        if CERTIFICATES.exists():
            options += ["--secret", f"id=ca-certificates,src={CERTIFICATES}"]
            lines.append("cert = /run/secrets/ca-certificates")
        settings.write_text("\n".join(["[global]", *lines, ""]))
        yield options


def pip_settings(
    files: Sequence[Path] = PIP_FILES, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return where pip on this machine takes packages from; its environment goes before its files."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(files)
    found = {
        name: environment.get(
            f"PIP_{name.replace('-', '_').upper()}", parser.get("global", name, fallback="")
        )
        for name in PIP_OPTIONS
    }
    return {name: value.replace("\n", "\n  ") for name, value in found.items() if value}
