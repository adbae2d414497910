"""The judge of a chaos run: sees what went in and what came out, and knows nothing of Kafleet.

Nothing of Kafleet is imported here or in what this imports: an oracle that shares code with the engine shares
its errors.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chaos.facts import NO_KEY, Expelled
from chaos.judgements import Judgement
from chaos.orders import Passed, judge_orders
from chaos.owners import Owners
from chaos.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaos.facts import Evidence, Identity, Input, Output


def judge_all(parts: Iterable[Evidence]) -> Judgement:
    """Judge parts of which each has all of some keys."""
    judgement = Judgement()
    for part in parts:
        judgement.merge(judge(part))
    return judgement


def judge(evidence: Evidence) -> Judgement:
    """Compare what came out with what went in."""
    judgement = Judgement(records=len(evidence.inputs))
    for complaint in evidence.complaints:
        judgement.complaints.add(complaint)
    inputs = _inputs(evidence.inputs, judgement)
    outcomes = _outcomes(evidence, inputs, judgement)
    expelled = Expelled(evidence.absences)
    first = {name: min(found, key=lambda each: each.appended) for name, found in outcomes.items()}
    owners = evidence.owners or Owners.of(evidence.inputs, evidence.attempts)
    passed = Passed(evidence.attempts, inputs, first, owners, expelled)
    judge_orders(evidence, passed, expelled, judgement)
    Repeats(evidence, inputs, outcomes, owners, expelled).judge(judgement)
    return judgement


def _inputs(inputs: Iterable[Input], judgement: Judgement) -> dict[Identity, Input]:
    """Index the inputs; each key's sequence must rise by one, or the run proves nothing."""
    found: dict[Identity, Input] = {}
    following: dict[str, int] = defaultdict(int)
    for each in inputs:
        key, sequence = each.identity
        if each.identity in found or (key != NO_KEY and sequence != following[key]):
            judgement.unread.add(f"{each.identity} where {following[key]} was to come")
        following[key] = sequence + 1
        found[each.identity] = each
    return found


def _outcomes(
    evidence: Evidence, inputs: Mapping[Identity, Input], judgement: Judgement
) -> dict[Identity, list[Output]]:
    """Return the outcomes of each record: there must be one, the right one."""
    found: dict[Identity, list[Output]] = {}
    for outputs, is_dead in ((evidence.answers, False), (evidence.dead_letters, True)):
        for output in outputs:
            name = f"{'dead letter' if is_dead else 'answer'} of {output.identity}"
            origin = inputs.get(output.identity)
            if origin is None:
                judgement.invented.add(name)
            elif origin.is_poison != is_dead:
                judgement.misjudged.add(name)
            if output.identity in found:
                judgement.repeated.add(name)
            found.setdefault(output.identity, []).append(output)
    for identity in inputs.keys() - found.keys():
        judgement.lost.add(str(identity))
    return found
