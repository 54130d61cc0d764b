"""inrbench from Python: one call, one DataFrame; and what importing it loads."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import inrbench
from inrbench.errors import UnknownName
from inrbench.records import load_records

HEAVY = {"torch", "jax", "pandas", "numpy", "scipy", "pydantic", "rich", "yaml", "safetensors"}


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import inrbench", HEAVY),
        ("from inrbench import Plugin, Method, hookimpl", HEAVY),
        ("import inrbench.registry as r; r.registry().all('method')", HEAVY),
        ("import inrbench.api, inrbench.runner", {"torch", "jax", "pandas", "scipy"}),
    ],
)
def test_importing_loads_no_more_than_it_needs(statement: str, heavy: set[str]) -> None:
    program = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert not set(done.stdout.split()) & heavy


def test_every_public_name_is_there() -> None:
    for name in inrbench.__all__:
        assert getattr(inrbench, name).__module__.startswith(("inrbench.", "pluggy"))
    with pytest.raises(AttributeError, match="module 'inrbench' has no attribute 'runn'"):
        inrbench.runn  # noqa: B018


def test_running_from_python_returns_a_data_frame() -> None:
    assert inspect.signature(inrbench.run).return_annotation == "pd.DataFrame"


def test_python_offers_what_the_command_line_offers() -> None:
    from inrbench.cli.run import run as command

    ours = set(inspect.signature(inrbench.run).parameters)
    theirs = {parameter.name for parameter in command.params} - {"dry_run", "as_json"}
    assert theirs <= ours


def test_a_wrong_request_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no method named 'sirne'; did you mean 'siren'"):
        inrbench.run("sirne+digits", records=tmp_path / "records")
    assert not (tmp_path / "records").exists()


@pytest.mark.cells
def test_a_cell_run_from_python_is_a_row_of_its_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("inrbench.runner.num_threads", lambda asked=None: 1)
    threads = torch.get_num_threads()
    try:
        settings = {"fitter": {"steps": 2}, "data": {"test_size": 2}}
        frame = inrbench.run(
            "siren+digits", profile="smoke", seeds=[1, 2], settings=settings, device="cpu", records=tmp_path, quiet=True
        )
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out == ""
    assert frame["cell"].tolist() == ["siren+digits-smoke-s1", "siren+digits-smoke-s2"]
    assert (frame["status"] == "ok").all()
    assert frame["settings.fitter.steps"].tolist() == [2, 2]
    again = load_records(tmp_path).sort_values("seed")
    assert again["metrics.psnr_db"].tolist() == frame["metrics.psnr_db"].tolist()


def test_records_are_merged_and_compared_from_python(tmp_path: Path) -> None:
    for name in ("one", "other"):
        inrbench.run("pixels+digits", profile="smoke", records=tmp_path / name, threads=1, quiet=True)
    done = inrbench.merge([tmp_path / "one", tmp_path / "other"], tmp_path / "both")
    assert (done.added, len(done.aside), done.differing) == (1, 1, [])
    assert len(inrbench.load_records(done.folder)) == 1
    frame = inrbench.compare(done.folder, tmp_path / "other")
    assert frame["equal"].tolist() == [1] * len(frame)
    assert set(frame["metric"]) == {"accuracy", "cross_entropy"}
