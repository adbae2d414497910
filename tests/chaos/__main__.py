"""Chaos: agents killed, frozen, cut off and scaled at random, and an oracle that counts every record.

    make chaos [RECORDS=200000] [SEED=…] [ROUNDS=10] [FAULTS=…] [SECONDS=0.02]
        [GUARANTEE=ExactlyOnce] [PEER=defaults|many|acknowledging]
    make chaos PLANTED=early|forgetful|late [RECORDS=1500] [SEED=…] [ROUNDS=10]

Prints the schedule that the seed gives before it begins. Exit status 1 if anything is not as promised, or if
what a planted bug does is not found; the logs are then kept.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.candidates import environment
from chaos.crews import Kind
from chaos.judgements import Death
from chaos.running import Run
from chaos.schedules import MEAN_SECONDS, Schedule
from integration.conftest import folder
from integration.proxies import ProxiedBroker
from integration.servers import PROJECT

if TYPE_CHECKING:
    from chaos.judgements import Judgement

RECORDS = 200_000
FEW_RECORDS = 1_500
SYMPTOMS = {
    "early": "lost",
    "forgetful": "repeated although committed before",
    "late": "not committed in time",
}
"""What an oracle must find of each bug that is planted."""


def main() -> int:
    arguments = parsed()
    first = arguments.seed if arguments.seed is not None else random.randrange(1_000_000)  # noqa: S311 - dice
    kind = kind_of(arguments)
    seeds = range(first, first + arguments.rounds)
    failed = [seed for seed in seeds if not holds(scheduled(arguments, seed, kind), kind)]
    print(f"{arguments.rounds - len(failed)} of {arguments.rounds} rounds passed", *failed)
    return 1 if failed else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--faults", type=int)
    parser.add_argument("--seconds", type=float, default=MEAN_SECONDS, help="how long a task takes")
    parser.add_argument("--guarantee", choices=["AtLeastOnce", "ExactlyOnce"], default="AtLeastOnce")
    parser.add_argument("--peer", choices=["defaults", "many", "acknowledging"], help="FastStream, so set")
    parser.add_argument("--planted", choices=SYMPTOMS, help="a bug, to be found")
    return parser.parse_args()


def scheduled(arguments: argparse.Namespace, seed: int, kind: Kind) -> Schedule:
    """Draw what happens; to a planted bug, what brings it to light."""
    if kind.symptom:
        return Schedule.exposing(seed, arguments.records or FEW_RECORDS)
    return Schedule.drawn(
        seed,
        arguments.records or RECORDS,
        arguments.faults,
        mean_seconds=arguments.seconds,
        is_exactly_once=kind.is_exactly_once,
    )


def kind_of(arguments: argparse.Namespace) -> Kind:
    """Return who is to be judged."""
    if arguments.peer:
        return peer(arguments.peer)
    if arguments.planted:
        return planted(arguments.planted)
    return Kind(arguments.guarantee)


def peer(options: str) -> Kind:
    """FastStream in an environment of its own, with these of its options."""
    script = PROJECT / "tests" / "chaos" / "peers" / "faststream_agent.py"
    variables = {
        "CHAOS_PEER": options,
        "PYTHONPATH": str(PROJECT / "tests"),
        "PYTHONWARNINGS": "default",
    }
    return Kind(command=(environment("faststream"), script), variables=variables, is_peer=True)


def planted(bug: str) -> Kind:
    """Kafleet with a bug; see `planted`."""
    return Kind(
        command=(sys.executable, "-m", "chaos.planted"),
        variables={"CHAOS_PLANTED": bug, "PYTHONPATH": str(PROJECT / "tests")},
        symptom=SYMPTOMS[bug],
    )


def holds(schedule: Schedule, kind: Kind) -> bool:
    """Run one schedule, print what comes of it, and return whether everything is as promised."""
    print(f"seed {schedule.seed}: {schedule.records} records, {schedule.workers} workers at first")
    for fault in schedule.faults:
        print(f"  {fault}")
    begun = time.monotonic()
    with folder() as path:
        try:
            judgement = run(schedule, Path(path), kind)
        except AssertionError as error:
            print(f"it cannot be judged: {error}")
            is_good = False
        else:
            print(told(judgement, kind))
            problems = judgement.problems(is_exactly_once=kind.is_exactly_once)
            is_good = kind.symptom in problems if kind.symptom else not problems
        seconds = time.monotonic() - begun
        print(f"seed {schedule.seed}: {'passed' if is_good else 'FAILED'} in {seconds:.0f} s")
        if not is_good:
            kept = tempfile.mkdtemp(prefix=f"chaos-{schedule.seed}-")
            shutil.copytree(path, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("data"))
            print(f"logs and journals are in {kept}")
    return is_good


def run(schedule: Schedule, path: Path, kind: Kind) -> Judgement:
    """Run one schedule with a broker of its own."""
    with ProxiedBroker(path).running() as broker:
        begun = time.monotonic()

        def say(what: str) -> None:
            print(f"{time.monotonic() - begun:7.1f} s  {what}", flush=True)

        return Run(schedule, broker, path, kind, say=say).judgement()


def told(judgement: Judgement, kind: Kind) -> str:
    """Put a judgement in words."""
    violations = judgement.disordered.count + judgement.hasty.count + judgement.overlapped.count
    deaths = judgement.deaths.values()
    worst = max(deaths, key=lambda each: each.repeated, default=Death())
    repeated = sum(each.repeated for each in deaths)
    forgettable = sum(each.forgettable for each in deaths)
    lines = [
        ", ".join(
            [
                f"{judgement.records} records and {len(deaths)} deaths: {judgement.lost.count} lost",
                f"{violations} order violations",
                f"{judgement.repeated.count} outcomes repeated",
                f"{judgement.reworked} attempts at what was done ({judgement.needless.count} needless)",
                f"{repeated} of {forgettable} that deaths may repeat",
                f"{worst.repeated} of {worst.forgettable} by one",
            ]
        ),
        ", ".join(
            [
                f"by expelled processes {judgement.disordered_by_expelled.count} answers out of order",
                f"{judgement.hasty_by_expelled.count} handlers begun out of order",
                f"{judgement.overlapped_by_expelled.count} beside others of their key",
            ]
        ),
    ]
    for name, finding in judgement.problems(is_exactly_once=kind.is_exactly_once).items():
        lines.append(f"{name}, {finding.count} times:")
        lines += [f"    {example}" for example in finding.examples]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
