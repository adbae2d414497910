"""`make demo`: a fleet on a real cluster, scaled, hurt, and checked. Leaves everything running."""

from __future__ import annotations

import sys
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo import manual
from demo.broker import Broker, Shares, answers_of, held_by, lag_of, places_of, task
from demo.checking import Place, Verdict, check
from demo.cluster import RELEASE, SYSTEM, Cluster, Json, bring_up, load_images, local
from demo.errors import Failed
from demo.telling import Story, WorkTable, recovery_told, short
from demo.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TASKS, RESULTS, DEAD_LETTERS, GROUP = (
    f"default.triage.{name}" for name in ("tasks", "results", "dead-letters", "workers")
)
PODS = "kafleet.dev/resource=triage"
LOOK_AT_AGENTS = f"local/cluster kubectl logs -l {PODS} --prefix --tail=50"
LOOK_AT_FLEET = (
    f"local/cluster kubectl describe ag/triage; local/cluster kubectl -n {SYSTEM} logs deploy/{RELEASE}"
)
FEW, MANY = 2, 4
READY_SECONDS = 180
WORK_SECONDS = 300
TAKEOVER_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the demo: what it sent, and where its results begin."""

    id: str
    texts: Mapping[Place, str]
    results_from: Mapping[int, int]
    dead_letters_from: Mapping[int, int]


class Demo:
    """The steps after the cluster is there, in order."""

    def __init__(self, story: Story, cluster: Cluster) -> None:
        self.story = story
        self.cluster = cluster
        self.broker = Broker(cluster.broker_address())

    def apply(self) -> None:
        """Apply the example and wait until it is ready."""
        with self.story.step("The fleet: kubectl apply -k examples/triage", "5 to 15 s"):
            self.story.say(self.cluster.kubectl("apply", "-k", str(manual.EXAMPLE)))
            self.wait_ready()
            self.wait("two agents to share the work", lambda: self.agents() == FEW)
            self.story.say(self.cluster.kubectl("get", "ag/triage", "-o", "wide"))

    def feed(self) -> Run:
        """Send the manual; the run's id tells its results from those of earlier runs."""
        texts = manual.paragraphs()
        topics = {place.key for place in texts}
        with self.story.step(f"The work: {len(texts)} paragraphs on {len(topics)} topics", "1 s"):
            run = Run(
                id=uuid.uuid4().hex[:8],
                texts=texts,
                results_from=self.broker.ends(RESULTS),
                dead_letters_from=self.broker.ends(DEAD_LETTERS),
            )
            self.story.say(f"sent to {TASKS!r}, keyed by topic, numbered within each; this is run {run.id}")
            self.broker.feed(
                TASKS,
                [
                    task(
                        run.id, place, {"topic": place.key, "number": place.number, "text": text}, "paragraph"
                    )
                    for place, text in texts.items()
                ],
            )
        return run

    def work(self, total: int) -> None:
        """Show the work shrink, with more agents, then with one of them killed."""
        table = WorkTable(self.story)
        with self.story.step(f"{FEW} agents at work", "5 to 10 s"):
            self.follow(table, "the first tenth of the work", lambda now: lag_of(now) < 0.9 * total)
        with self.story.step(f"kubectl scale ag/triage --replicas={MANY}", "3 to 10 s"):
            self.story.say(self.cluster.kubectl("scale", "ag/triage", f"--replicas={MANY}"))
            self.follow(table, f"{MANY} agents to share the work", lambda now: shared_by(now) == MANY)
        with self.story.step("One agent killed with SIGKILL in mid-work", "5 to 20 s"):
            self.follow(table, "half of the work", lambda now: lag_of(now) < 0.6 * total)
            self.kill(table)
        with self.story.step("The rest of the work", "30 s"):
            self.follow(table, "the end of the work", lambda now: lag_of(now) == 0)
            self.story.say(self.cluster.kubectl("get", "pods", "-l", PODS))

    def kill(self, table: WorkTable) -> None:
        """Kill the agent with most work left, and show who takes over its partitions, from which offsets."""
        before = self.broker.shares(GROUP, TASKS)
        held = held_by(before)
        victim = max(filter(None, held), key=lambda pod: sum(before[each].lag for each in held[pod]))
        member = next(share.member for share in before.values() if share.pod == victim)
        recoveries = self.recoveries().get("count", 0)
        killed_at = time.monotonic()
        self.cluster.kill("default", victim, "agent")
        # The dead commit nothing more: these are the offsets its partitions resume from.
        orphans = {
            partition: share
            for partition, share in self.broker.shares(GROUP, TASKS).items()
            if before[partition].member == member
        }
        if not any(share.lag for share in orphans.values()):
            raise Failed(f"{victim!r} had no work left when it was killed", LOOK_AT_AGENTS)
        self.story.say(
            f"killed {victim} (exit code 137) with {lag_of(orphans)} records left in its partitions"
        )
        takeovers: dict[int, str] = {}

        def is_taken_over(now: Shares) -> bool:
            for partition in orphans.keys() - takeovers.keys():
                share = now[partition]
                if share.member not in ("", member):
                    seconds = time.monotonic() - killed_at
                    heir = short(share.pod) + (" (started again)" if share.pod == victim else "")
                    takeovers[partition] = f"by {heir}, {seconds:.1f} s after the kill"
            return len(takeovers) == len(orphans)

        self.follow(table, "others to take over", is_taken_over, TAKEOVER_SECONDS)
        for partition, heir in sorted(takeovers.items()):
            share = orphans[partition]
            self.story.say(
                f"partition {partition:>2}: from offset {share.committed} ({share.lag} left) {heir}"
            )
        self.wait("the operator to tell of it", lambda: self.recoveries().get("count", 0) > recoveries)
        self.story.say(recovery_told(self.recoveries()["last"]))

    def compare(self, run: Run) -> Verdict:
        """Compare the results with the same computation made here; raise Failed if they differ."""
        with self.story.step("The results, compared with the same computation made here", "4 s"):
            results = self.broker.read(RESULTS, run.results_from)
            dead = self.broker.read(DEAD_LETTERS, run.dead_letters_from)
            verdict = check(
                manual.right_labels(run.texts), answers_of(run.id, results), places_of(run.id, dead)
            )
            self.story.say(
                f"{verdict.tasks} sent, {verdict.answered} answered: {len(verdict.lost)} lost,"
                f" {len(verdict.disordered)} out of order within a key, {len(verdict.wrong)} wrong,"
                f" {verdict.dead} dead letters"
            )
            self.story.say(
                f"{verdict.repeated} repeated (known by their ce_id): the dead agent had answered them,"
                " and not yet committed past them"
            )
        if verdict.problems:
            raise Failed("; ".join(verdict.problems), LOOK_AT_AGENTS)
        return verdict

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            self.cluster.kubectl("wait", "ag/triage", "--for=condition=Ready", "--timeout=2s")
            return True

        self.wait("the fleet to be ready", is_ready)

    def wait(self, what: str, is_so: Callable[[], bool]) -> None:
        until(what, is_so, READY_SECONDS, look=LOOK_AT_FLEET, tell=self.story.say)

    def recoveries(self) -> Json:
        """Return what the fleet's status tells of dead agents."""
        (lane,) = self.cluster.read("ag", "triage", "-n", "default")["status"]["lanes"]
        told: Json = lane.get("recoveries", {})
        return told

    def agents(self) -> int:
        return shared_by(self.broker.shares(GROUP, TASKS))

    def follow(
        self, table: WorkTable, what: str, is_so: Callable[[Shares], bool], seconds: float = WORK_SECONDS
    ) -> None:
        """Print the state of the work until it is so."""

        def look() -> bool:
            shares = self.broker.shares(GROUP, TASKS)
            table.show(shares)
            return is_so(shares)

        until(what, look, seconds, look=LOOK_AT_AGENTS, tell=table.tell)


def shared_by(shares: Shares) -> int:
    """Count the agents that share all partitions; 0 while one is held by nobody."""
    held = held_by(shares)
    return 0 if "" in held else len(held)


def prepare(story: Story) -> Cluster:
    """Bring up the cluster, the images, the broker and the operator."""
    with story.step("A local Kubernetes cluster", "20 s; the first time 6 to 20 min, to build it"):
        cluster = bring_up()
    with story.step("Images of the operator, the agents and Kafka", "5 s; the first time 2 to 5 min"):
        images = load_images()
        story.say("\n".join(f"{name}: {reference}" for name, reference in images.items()))
    with story.step("Kafka, one broker in the cluster", "5 to 20 s"):
        local("kafka")
        story.say(f"it answers at {cluster.broker_address()}, inside the cluster at kafka.kafka.svc:9092")
    with story.step("The operator, from the Helm chart", "5 to 15 s"):
        story.say(f"helm upgrade --install {RELEASE} charts/kafleet --namespace {SYSTEM} …")
        cluster.install(images, tell=story.say)
    return cluster


def conclude(cluster: Cluster, verdict: Verdict) -> None:
    """Print what came of it and what to try next."""
    print(f"""
Nothing lost, nothing out of order: {verdict.tasks} of {verdict.tasks}. Everything is left running. Try:

   export KUBECONFIG={cluster.kubeconfig} PATH="$PWD/.venv/bin:$PATH"
   kubectl get kafleet                             # every fleet at a glance
   kubectl describe ag/triage                      # its conditions, topics, lag, events
   kubectl scale ag/triage --replicas=6
   kubectl logs -l {PODS} --prefix
   kubectl explain ag.spec.delivery                # what can be set
   # change examples/triage/triage.py, then: kubectl apply -k examples/triage
   make demo                                       # once more, on what is running
   make demo-down                                  # removes all of it""")


def main() -> int:
    story = Story()
    try:
        demo = Demo(story, prepare(story))
        demo.apply()
        run = demo.feed()
        demo.work(len(run.texts))
        verdict = demo.compare(run)
    except Failed as failed:
        print(f"\nFAILED: {failed}", flush=True)
        if failed.look:
            print(f"Look here: {failed.look}")
        print("Everything is left as it is; `make demo` tries again, `make demo-down` removes it.")
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What was started keeps running; `make demo-down` removes it.")
        return 130
    story.summary()
    conclude(demo.cluster, verdict)
    return 0


if __name__ == "__main__":
    sys.exit(main())
