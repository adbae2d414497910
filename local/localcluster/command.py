"""The subcommands of `local/cluster`: results on stdout, what is going on on stderr."""

import argparse
import os
import sys
from pathlib import Path

from localcluster import binaries, broker, images, node
from localcluster.clusters import cluster
from localcluster.paths import KUBECONFIG
from localcluster.programs import Failed, say

DOWN = 3


def main(argv: list[str]) -> int:
    if argv[:1] == ["_node"]:  # how `up` starts pid 1 of the node; not for people
        _, state, folder, _ = argv
        node.main(Path(state), Path(folder))
    # Debian's ip, runc and nft are there, and `su` without a dash leaves it out.
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    arguments = parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command](arguments)
    except Failed as failed:
        say(f"error: {failed}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the same command takes up where this one was")
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="local/cluster", description="A local Kubernetes and Kafka.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start the cluster and wait until it serves")
    commands.add_parser("kafka", help="start the broker in the cluster and wait until it serves")
    end = commands.add_parser("down", help="end the cluster and remove what it made on this machine")
    end.add_argument("--purge", action="store_true", help="remove its data, too")
    commands.add_parser("status", help="say what runs; the exit status tells whether it serves")
    commands.add_parser(
        "images", help="build the images, load what the cluster lacks, print their references"
    )
    load = commands.add_parser("load-image", help="load image archives into the cluster")
    load.add_argument("archives", metavar="TAR", nargs="+", type=Path)
    for name, what in (("kubectl", "run kubectl on the cluster"), ("shell", "run a command inside the node")):
        passed = commands.add_parser(name, help=what, prefix_chars="\0", add_help=False)
        passed.add_argument("words", metavar="WORD", nargs=argparse.REMAINDER)
    commands.add_parser("build", help="build the node's programs")
    commands.add_parser("bin", help="print the folder of the node's programs, building them if need be")
    commands.add_parser("kafka-lib", help="print the folder of the broker's jars, fetching them if need be")
    return top


def up(_: argparse.Namespace) -> int:
    cluster().up()
    print(f"export KUBECONFIG={KUBECONFIG}")
    return 0


def start_kafka(_: argparse.Namespace) -> int:
    here = cluster()
    broker.start(here.kubectl_command(), images.loaded(images.KAFKA, here, here.builder()))
    return 0


def down(arguments: argparse.Namespace) -> int:
    cluster().down(purge=arguments.purge)
    return 0


def status(_: argparse.Namespace) -> int:
    return 0 if cluster().status() else DOWN


def build_images(_: argparse.Namespace) -> int:
    here = cluster()
    builder = here.builder()
    for image in images.IMAGES:
        print(f"{image.name}={images.loaded(image, here, builder)}", flush=True)
    return 0


def load_image(arguments: argparse.Namespace) -> int:
    for archive in arguments.archives:
        cluster().load_image(archive)
    return 0


def kubectl(arguments: argparse.Namespace) -> int:
    return become([*cluster().kubectl_command(), *arguments.words])


def shell(arguments: argparse.Namespace) -> int:
    return become([*cluster().shell_command(), *(arguments.words or ["bash"])])


def become(words: list[str]) -> int:
    sys.stdout.flush()
    os.execvp(words[0], words)  # noqa: S606 - the user's own words, no shell between


def build(_: argparse.Namespace) -> int:
    say(f"the node's programs are in {str(binaries.binaries())!r}")
    return 0


def print_bin(_: argparse.Namespace) -> int:
    print(binaries.binaries())
    return 0


def print_kafka_lib(_: argparse.Namespace) -> int:
    print(broker.jars())
    return 0


COMMANDS = {
    "up": up,
    "kafka": start_kafka,
    "down": down,
    "status": status,
    "images": build_images,
    "load-image": load_image,
    "kubectl": kubectl,
    "shell": shell,
    "build": build,
    "bin": print_bin,
    "kafka-lib": print_kafka_lib,
}
