"""Building images without Docker: a Debian base made by mmdebstrap, Dockerfiles run by buildah."""

import configparser
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
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
APT_SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# What of the machine's pip configuration is about where packages come from.
PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


def builder() -> Builder:
    programs.install({"buildah": "buildah", "mmdebstrap": "mmdebstrap"})
    return Builder(base(), build)


def base() -> str:
    """Return the reference of the base image, making its archive if it is not in the cache."""
    key = caching.key_of([], SUITE, *BOOTSTRAP)
    reference = f"kafleet.local/base:{key}"

    def make(folder: Path) -> None:
        sources = [name for name in APT_SOURCES if Path(name).exists()]
        with step("making the base image with mmdebstrap", "30 s to 2 min"):
            run(*BOOTSTRAP, SUITE, folder / "root.tar", *sources)
            archives.write(folder / "base.tar", reference, folder / "root.tar", {"Cmd": ["/bin/sh"]})
        (folder / "root.tar").unlink()

    archive = caching.cached(FOLDER / f"base-{key}", make) / "base.tar"
    if reference not in buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        buildah("pull", "--quiet", f"docker-archive:{archive}")
    return reference


def build(reference: str, dockerfile: Path, context: Path, archive: Path) -> None:
    """Run a Dockerfile and write the image as a docker-archive."""
    with secrets() as options:
        buildah(
            *("build", "--quiet", "--isolation", "chroot", "--layers", "--pull-never"),
            *("--build-arg", f"BASE_IMAGE={base()}", *options),
            *("--file", dockerfile, "--tag", reference, context),
        )
    buildah("push", "--quiet", reference, f"docker-archive:{archive}:{reference}")


def buildah(*words: str | Path) -> str:
    """Run buildah with its storage in the cache, in a mount namespace: killed, it leaves no mount behind."""
    with tempfile.TemporaryDirectory(prefix="kafleet-buildah-") as run_root:
        storage = ("--root", FOLDER / "storage", "--runroot", run_root)
        return run("unshare", "--mount", "buildah", *storage, *words)


@contextlib.contextmanager
def secrets() -> Iterator[list[str]]:
    """Hand the machine's package index and certificates to a build as secrets, which no layer keeps."""
    folder = Path(tempfile.mkdtemp(prefix="kafleet-secrets-"))
    try:
        options = ["--secret", f"id=pip.conf,src={folder / 'pip.conf'}"]
        settings = pip_settings()
        if CERTIFICATES.exists():
            options += ["--secret", f"id=ca-certificates,src={CERTIFICATES}"]
            settings["cert"] = "/run/secrets/ca-certificates"
        lines = [f"{name} = {value}" for name, value in settings.items()]
        (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
        yield options
    finally:
        shutil.rmtree(folder)


def pip_settings() -> dict[str, str]:
    """Return where pip on this machine takes packages from; the environment goes before the files."""
    parser = configparser.ConfigParser(interpolation=None)
    home = Path.home()
    parser.read(["/etc/pip.conf", home / ".pip/pip.conf", home / ".config/pip/pip.conf"])
    found = {name: parser.get("global", name, fallback="") for name in PIP_OPTIONS}
    found |= {
        name: os.environ.get(f"PIP_{name.replace('-', '_').upper()}", found[name]) for name in PIP_OPTIONS
    }
    return {name: value.replace("\n", "\n  ") for name, value in found.items() if value}
