"""Chaos: agents killed, frozen, cut off and scaled at random, and an oracle that counts every record.

    make chaos [RECORDS=200000] [SEED=…] [ROUNDS=10] [FAULTS=…] [GUARANTEE=ExactlyOnce]

Prints the schedule that the seed gives before it begins. Exit status 1 if anything is not as promised; the
logs are then kept.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from chaos.oracle import Judgement, judge
from chaos.running import ChaosBroker, Run
from chaos.schedules import Schedule
from integration.conftest import folder


def main() -> int:
    arguments = parsed()
    first = arguments.seed if arguments.seed is not None else random.randrange(1_000_000)  # noqa: S311 - dice
    failed = [seed for seed in range(first, first + arguments.rounds) if not holds(seed, arguments)]
    print(f"{arguments.rounds - len(failed)} of {arguments.rounds} rounds passed", *failed)
    return 1 if failed else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--faults", type=int)
    parser.add_argument("--guarantee", choices=["AtLeastOnce", "ExactlyOnce"], default="AtLeastOnce")
    return parser.parse_args()


def holds(seed: int, arguments: argparse.Namespace) -> bool:
    """Run one schedule; whether everything is as promised."""
    schedule = Schedule.drawn(seed, arguments.records, arguments.faults)
    print(
        f"seed {seed}: {schedule.records} records, {schedule.workers} workers at first, {arguments.guarantee}"
    )
    for fault in schedule.faults:
        print(f"  {fault}")
    begun = time.monotonic()
    with folder() as path:
        try:
            judgement = run(schedule, Path(path), arguments.guarantee)
        except AssertionError as error:
            print(f"FAILED: {error}")
            problems = True
        else:
            is_exactly_once = arguments.guarantee == "ExactlyOnce"
            print(told(judgement, is_exactly_once=is_exactly_once))
            problems = bool(judgement.problems(is_exactly_once=is_exactly_once))
        print(f"seed {seed}: {'FAILED' if problems else 'passed'} in {time.monotonic() - begun:.0f} s")
        if problems:
            kept = tempfile.mkdtemp(prefix=f"chaos-{seed}-")
            shutil.copytree(path, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("data"))
            print(f"logs and journals are in {kept}")
    return not problems


def run(schedule: Schedule, path: Path, guarantee: str) -> Judgement:
    broker = ChaosBroker(path)
    with broker.proxy:
        try:
            broker.start()
            broker.await_ready()
            begun = time.monotonic()

            def say(what: str) -> None:
                print(f"{time.monotonic() - begun:7.1f} s  {what}", flush=True)

            evidence = Run(schedule, broker, path, guarantee=guarantee, say=say).evidence()
            say("judging")
            return judge(evidence)
        finally:
            broker.kill()


def told(judgement: Judgement, *, is_exactly_once: bool) -> str:
    """Put a judgement in words."""
    violations = judgement.disordered.count + judgement.overlapped.count
    lines = [
        ", ".join(
            [
                f"{judgement.records} records and {judgement.deaths} deaths: {judgement.lost.count} lost",
                f"{violations} order violations and {judgement.by_expelled.count} by expelled processes",
                f"{judgement.repeated.count} outcomes repeated",
                f"{judgement.reworked} attempts at what was done ({judgement.needless.count} needless)",
            ]
        )
    ]
    for name, finding in judgement.problems(is_exactly_once=is_exactly_once).items():
        lines.append(f"{name}, {finding.count} times:")
        lines += [f"    {example}" for example in finding.examples]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
