"""The subcommands of `local/cluster`: results on stdout, what is going on on stderr."""

import argparse
import sys

from localcluster import binaries, broker
from localcluster.programs import Failed, say


def main(argv: list[str]) -> int:
    arguments = parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command](arguments)
    except Failed as failed:
        say(f"error: {failed}")
        return 1


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="local/cluster", description="A local Kubernetes and Kafka.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("build", help="build the node's programs")
    commands.add_parser("bin", help="print the folder of the node's programs, building them if need be")
    commands.add_parser("kafka-lib", help="print the folder of the broker's jars, fetching them if need be")
    return top


def build(_: argparse.Namespace) -> int:
    say(f"the node's programs are in {binaries.binaries()}")
    return 0


def print_bin(_: argparse.Namespace) -> int:
    print(binaries.binaries())
    return 0


def print_kafka_lib(_: argparse.Namespace) -> int:
    print(broker.jars())
    return 0


COMMANDS = {"build": build, "bin": print_bin, "kafka-lib": print_kafka_lib}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
