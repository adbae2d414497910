"""Programs run quietly, and what fails or lasts is told."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from localcluster import programs
from localcluster.programs import Failed

if TYPE_CHECKING:
    from pathlib import Path


def said_within(seconds: float, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    deadline, said = time.monotonic() + seconds, ""
    while text not in said:
        assert time.monotonic() < deadline, said
        said += capsys.readouterr().err
    return said


def test_long_step_says_again_that_it_goes_on_and_how_long_it_usually_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with programs.step("building kube", "7 min", say_every_seconds=0.001):
        said = said_within(120, "still building kube", capsys)

    assert said.startswith("building kube (usually 7 min)\n")
    assert "usually 7 min\n" in said.partition("still building kube")[2]
    assert "done" in capsys.readouterr().err


def test_short_step_says_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with programs.step("building pause", "1 s"):
        pass

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "building pause (usually 1 s)\n")


def test_failure_carries_the_end_of_what_the_program_said() -> None:
    script = "import sys; print('x' * 9, file=sys.stderr); sys.exit(3)"

    with pytest.raises(Failed, match=r"ended with status 3:\nx{9}$"):
        programs.run(sys.executable, "-c", script)


def test_program_that_is_missing_is_a_failure_too() -> None:
    with pytest.raises(Failed, match="'kafleet-no-such-program' cannot be run: No such file"):
        programs.run("kafleet-no-such-program")
    assert not programs.succeeds("kafleet-no-such-program")


def test_nothing_is_installed_where_nothing_is_missing() -> None:
    programs.install({"sh": "no-such-package", sys.executable: "no-such-package-either"})


def test_nobody_waits_for_itself(tmp_path: Path) -> None:
    with (
        programs.exclusive(tmp_path / "lock"),
        pytest.raises(RuntimeError, match="held already"),
        programs.exclusive(tmp_path / "lock"),
    ):
        pass
    with programs.exclusive(tmp_path / "lock"):
        pass


def test_second_holder_of_a_lock_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []
    entered = threading.Event()

    def second() -> None:
        entered.set()
        with programs.exclusive(tmp_path / "lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    with programs.exclusive(tmp_path / "lock"):
        thread.start()
        entered.wait()
        order.append("first")
    thread.join()

    assert order == ["first", "second"]
