"""The group of commands: help that teaches, one line for an error, and its exit status."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner, Result

from inrbench.cli import COMMANDS, cli
from inrbench.errors import BadData, Interrupted


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_the_group_alone_prints_its_help_with_every_command() -> None:
    result = invoke()
    assert (result.exit_code, result.output) == (0, invoke("--help").output)
    assert all(f"\n  {name} " in result.output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_group_says_of_it(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert (command.help or "").splitlines()[0] == COMMANDS[name][1]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_teaches_by_example(name: str) -> None:
    assert f"    inrbench {name} " in f"{invoke(name, '--help').output} ".replace("\n", " \n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["runn"],
            "error: no command named 'runn'; did you mean 'run'? known: analyse, cite, compare, completion, data, ",
        ),
        (["run", "a+b", "--profil", "paper"], "--profile"),
        (["run"], "error: missing argument 'WHAT...' (see `inrbench run --help`)"),
        (["run", "mwt+digits", "--seed", "x"], "error: invalid value for '--seed': 'x' is no seed; allowed are 3, 0-4"),
        (
            ["run", "mwt+digits", "--seed", "0-99999999999"],
            "error: invalid value for '--seed': '0-99999999999' is more than 100,000 seeds",
        ),
        (["run", "mwt+digits", "--seed", "4-1"], "error: invalid value for '--seed': '4-1' counts down; say 1-4"),
        (["render", "x", "--size", "0x"], "error: invalid value for '--size': '0x' is no magnification; allowed are 1"),
        (["data", "fetsh"], "error: no such command 'fetsh'"),
    ],
)
def test_wrong_usage_is_one_line_with_the_nearest_name(arguments: list[str], line: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("error", "status"), [(BadData("torn\nfile"), 1), (Interrupted("stopped"), 130)])
def test_an_error_of_the_users_is_one_line_and_ends_with_its_own_status(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("inrbench.requests.requested", fail)
    result = invoke("run", "mwt+digits")
    assert (result.exit_code, result.stderr) == (status, f"error: {'; '.join(str(error).split())}\n")


def test_a_bug_of_ours_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("inrbench.requests.requested", fail)
    with pytest.raises(ZeroDivisionError):
        invoke("run", "mwt+digits")


def test_ctrl_c_before_a_cell_starts_says_stopped_and_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("inrbench.requests.requested", stop)
    result = invoke("run", "mwt+digits")
    assert (result.exit_code, result.stderr.split()) == (130, ["stopped"])


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    command = f"{sys.executable} -m inrbench list --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
