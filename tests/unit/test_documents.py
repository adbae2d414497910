"""What the documents show works, and what they point at exists."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml
from documents import REPOSITORY, Block, blocks, commands, prose, tracked

from kafleet_operator.api.agentgroups import parse_agent_group

if TYPE_CHECKING:
    from pathlib import Path


AGENT = "agent = Agent()"


def place_of(block: Block) -> str:
    return block.place


def anchors_of(path: Path) -> set[str]:
    """Return the anchors that headings get on GitHub."""
    headings = re.findall(r"^#+ (.+)$", prose(path.relative_to(REPOSITORY)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", tracked("*.md"), ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = (REPOSITORY / path).parent / file if file else REPOSITORY / path
        assert linked.exists(), target
        assert not anchor or anchor in anchors_of(linked.resolve()), target


def test_mentioned_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    mentioned = {
        (str(path), target)
        for path in tracked("*.md")
        for target in re.findall(r"\bmake ([a-z][a-z0-9-]*)`", prose(path))
    }
    mentioned |= {(block.place, block.text.split()[1]) for block in commands("make")}

    assert mentioned
    assert sorted(mention for mention in mentioned if mention[1] not in targets) == []


def test_tests_that_are_named_exist() -> None:
    sources = "".join((REPOSITORY / path).read_text() for path in tracked("tests/*.py"))
    known = set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))
    named = {name for path in tracked("*.md") for name in re.findall(r"`(test_\w+)`", prose(path))}

    assert named
    assert named - known == set()


def test_commands_of_kafleet_are_understood() -> None:
    shown = [block.text.split("|")[0].split() for block in commands("kafleet")]
    assert shown
    for words in shown:
        subprocess.run(
            [REPOSITORY / ".venv" / "bin" / "kafleet", *words[1:], "--help"],
            check=True,
            stdout=subprocess.DEVNULL,
        )


def test_make_help_shows_every_target_with_its_purpose() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    for target in ("check", "test", "demo", "chart", "help"):
        assert re.search(rf"^{target} +\w", shown.stdout, re.MULTILINE), target


@pytest.mark.parametrize(("target", "module"), [("chaos", "chaos"), ("benchmark", "benchmarks")])
def test_what_a_make_target_runs_can_be_started(target: str, module: str) -> None:
    """No test starts these by make, and they take minutes: at least all that they import must be found."""
    shown = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", target],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = shown.stdout.replace("\\\n", " ").splitlines()
    [command] = [line for line in lines if f"-m {module} " in line]

    subprocess.run(["bash", "-c", f"{command} --help"], cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize("block", blocks("sh"), ids=place_of)
def test_shell_blocks_are_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)

    assert done.stderr == ""


@pytest.mark.parametrize("block", blocks("yaml"), ids=place_of)
def test_manifests_are_accepted(block: Block) -> None:
    for document in yaml.safe_load_all(block.text):
        if document.get("kind") == "AgentGroup":
            parse_agent_group(document)


def test_applied_folders_hold_fleets_with_their_code() -> None:
    kubectl = REPOSITORY / ".venv" / "bin" / "kubectl"
    folders = {word for block in commands("kubectl") for word in re.findall(r"apply -k (\S+)", block.text)}
    assert folders

    for folder in folders:
        printed = subprocess.run(
            [kubectl, "kustomize", REPOSITORY / folder], stdout=subprocess.PIPE, check=True
        )
        bodies = list(yaml.safe_load_all(printed.stdout))
        code = {body["metadata"]["name"]: body["data"] for body in bodies if body["kind"] == "ConfigMap"}
        fleets = [body for body in bodies if body["kind"] == "AgentGroup"]
        assert fleets
        for fleet in fleets:
            agent = parse_agent_group(fleet).workers.agent
            assert agent.code
            assert f"{agent.handler.split(':')[0]}.py" in code[agent.code.config_map]


def test_manifests_are_shown_at_all() -> None:
    shown = [yaml.safe_load(block.text).get("kind") for block in blocks("yaml")]

    assert shown.count("AgentGroup") >= 3


@pytest.mark.parametrize("block", blocks("python"), ids=place_of)
def test_code_runs_as_it_stands(block: Block, tmp_path: Path) -> None:
    """A page's first agent is the module `triage`, which its later code may import."""
    page = block.place.split(":")[0]
    agents = [each.text for each in blocks("python") if each.place.startswith(page) and AGENT in each.text]
    (tmp_path / "triage.py").write_text(agents[0])
    shown = tmp_path / "test_shown.py"
    shown.write_text(block.text)
    runner = ["-m", "pytest", "-q", "-p", "no:randomly"] if "def test_" in block.text else []

    done = subprocess.run(
        [sys.executable, "-W", "error", *runner, shown],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_shows_the_example_as_it_is() -> None:
    example = REPOSITORY / "examples" / "triage"
    shown = {
        block.language: block.text
        for block in blocks("python", "yaml")
        if block.place.startswith("README.md:")
    }

    assert yaml.safe_load(shown["yaml"]) == yaml.safe_load((example / "agentgroup.yaml").read_text())
    assert set(shown["python"].splitlines()) <= set((example / "triage.py").read_text().splitlines())


def test_chaining_shows_the_example_as_it_is() -> None:
    (shown,) = (
        yaml.safe_load(block.text)["spec"]
        for block in blocks("yaml")
        if block.place.startswith("docs/chaining.md:")
    )
    example = yaml.safe_load((REPOSITORY / "examples" / "chain" / "answering.yaml").read_text())["spec"]

    assert shown["tasks"] == example["tasks"]
    assert shown["workers"]["agent"].items() <= example["workers"]["agent"].items()


def test_operations_explain_every_condition_and_reason() -> None:
    def explained(path: str) -> set[str]:
        _, _, conditions = (REPOSITORY / path).read_text().partition("## Conditions\n")
        return set(re.findall(r"^\| `([A-Z]\w+)` \|", conditions, re.MULTILINE))

    assert explained("docs/operations.md") == explained("docs/reference/conditions.md") != set()


def test_log_events_to_search_for_are_logged() -> None:
    _, _, log = (REPOSITORY / "docs/operations.md").read_text().partition("## Log of the operator\n")
    events = re.findall(r"^\| `([a-z][^`]+)` \| (?:info|warning|error)", log, re.MULTILINE)
    sources = "".join((REPOSITORY / path).read_text() for path in tracked("operator/src/*.py"))

    assert events
    assert [event for event in events if f'"{event}"' not in sources] == []


def test_decisions_are_listed_and_complete() -> None:
    folder = REPOSITORY / "docs" / "decisions"
    records = sorted(path.name for path in folder.glob("[0-9]*.md"))

    assert re.findall(r"\]\((\d{4}-[^)]+)\)", (folder / "README.md").read_text()) == records
    for record in records:
        headings = re.findall(r"^## (.+)$", (folder / record).read_text(), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences"], record
