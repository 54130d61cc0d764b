"""`inrbench list`, `show`, `cite`, `doctor` and `completion` on what is installed here."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from inrbench import metrics
from inrbench import registry as registry_module
from inrbench.cli import cli
from inrbench.cli.listing import METRICS, WHAT
from inrbench.generation.generated import HEADINGS
from inrbench.registry import Registry


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def document(*arguments: str) -> Any:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry with one plugin that cannot be imported."""
    points = [*importlib.metadata.entry_points(group="inrbench")]
    registry = Registry([*points, importlib.metadata.EntryPoint("torn", "not_there_at_all", "inrbench")])
    monkeypatch.setattr(registry_module, "registry", lambda: registry)
    return registry


def test_list_groups_everything_by_kind() -> None:
    found = document("list")
    assert list(found) == list(WHAT)
    assert {"mwt", "mwt-l", "wt", "pixels", "siren"} <= {row["name"] for row in found["methods"]}
    assert {"digits", "folder:PATH"} <= {row["name"] for row in found["datasets"]}
    assert found["methods"] == document("list", "methods")
    text = invoke("list").stdout
    assert all(f"{row['name']} " in text for rows in found.values() for row in rows)


def test_every_metric_that_is_computed_is_listed() -> None:
    mse = np.array([0.1, 0.2])
    errors = dict.fromkeys(("mse", "mse_estimate", "mse_audio", "mse_video", "iou", "si_snr_db"), mse)
    computed = metrics.of_vectors({"ids": np.arange(2), **errors}, mse)
    computed |= metrics.classification(np.eye(2), np.arange(2))[0]
    names = {name for name in computed if not name.endswith(("_low", "_high"))}
    trained = {"fit_psnr_db"}  # a fitter measures it while it trains
    assert names | trained | set(HEADINGS) == set(METRICS)  # `inrbench generate` has a column for each of its own
    assert {row["name"] for row in document("list", "metrics")} == set(METRICS)


def test_a_plugin_that_is_not_used_is_listed_with_the_reason(broken: Registry) -> None:
    result = invoke("list", "plugins", "--json")
    states = {row["name"]: row["state"] for row in json.loads(result.stdout)}
    assert "importing 'not_there_at_all' failed: ModuleNotFoundError" in states["?"]
    assert states["inrbench-mwt"] == "ok"
    assert invoke("list", "methods").stderr == "1 fault(s) in installed plugins: see `inrbench doctor`\n"


def test_doctor_exits_1_where_a_plugin_is_faulty_and_says_why(broken: Registry) -> None:
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "import: ? ?: importing 'not_there_at_all' failed: ModuleNotFoundError" in result.stdout


def test_doctor_names_versions_devices_and_folders() -> None:
    result = invoke("doctor")
    assert result.exit_code == 0, result.output
    assert f"numpy {np.__version__}" in result.stdout
    assert "torch: cpu" in result.stdout
    assert result.stdout.count("GB free") == 2


@pytest.mark.parametrize(
    ("cell", "fitter", "reader"),
    [("mwt+cifar10", 465_414, 1_078_538), ("mwt-l+cifar10", 1_848_326, 4_286_986)],
)
def test_parameters_are_counted_as_the_paper_counts_them_without_the_data(cell: str, fitter: int, reader: int) -> None:
    assert document("show", cell)["parameters"] == {"fitter": fitter, "reader": reader}


def test_a_pair_shows_resolved_settings_with_stage_meaning_and_what_is_allowed() -> None:
    found = document("show", "wt+mnist", "--profile", "laptop", "--set", "fitter.steps=3")
    assert (found["method"], found["dataset"], found["profile"]) == ("wt", "mnist", "laptop")
    assert found["settings"]["fitter"]["steps"] == 3
    assert found["settings"]["joint"]["share"] == 0.0
    rows = {row["key"]: row for row in found["explained"]}
    assert rows["data.test_size"]["stage"] == "score"
    assert rows["fitter.steps"] == {
        "key": "fitter.steps",
        "value": 3,
        "allowed": "int >= 1",
        "description": "inner steps k",
        "stage": "train",
    }
    assert (
        rows["fitter.train.schedule"]["allowed"] == "constant | one-cycle | cosine | inverse-sqrt | exponential | step"
    )
    assert rows["fitter.train.clip_norm"]["allowed"] == "float > 0 or null"
    assert "fitter.steps" in invoke("show", "wt+mnist").stdout


def test_a_method_without_a_reader_has_none_to_count() -> None:
    found = document("show", "siren+digits", "--profile", "smoke")
    assert found["parameters"]["reader"] is None
    assert found["settings"]["reader"] is None


def test_a_method_shows_its_source_and_each_profile() -> None:
    found = document("show", "mwt")
    assert found["profiles"]["paper"]["fitter"]["steps"] == 6
    assert "2503.18123" in found["source"]
    text = invoke("show", "mwt").stdout
    (row,) = [line for line in text.splitlines() if line.split()[:1] == ["fitter.steps"]]
    steps = [found["profiles"][profile]["fitter"]["steps"] for profile in ("paper", "laptop", "smoke")]
    assert row.split()[1:4] == [str(number) for number in steps]
    assert "on imagenette: " in text


def test_a_data_set_shows_sizes_licence_and_official_files() -> None:
    found = document("show", "mnist")
    assert found["sizes"] == {"train": 60_000, "test": 10_000}
    assert found["parts"] == [{"name": "", "domain": "grid", "shape": [28, 28], "channels": 1}]
    assert not any(file["here"] for file in found["files"])
    assert all(file["urls"] and file["checksums"] for file in found["files"])
    assert "train-images-idx3-ubyte.gz" in invoke("show", "mnist").stdout


@pytest.mark.parametrize(
    ("dataset", "download"),
    [("digits", "nothing"), ("mnist", "12 MB"), ("celeba-hq", "by hand"), ("imagenet", "154,642 MB, by hand")],
)
def test_what_there_is_to_download_is_said_and_who_has_to(dataset: str, download: str) -> None:
    lines = invoke("show", dataset).stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("  download ")] == [download]
    by_hand = "by hand" in download
    assert all(bool(file["urls"]) != by_hand for file in document("show", dataset)["files"])


def test_a_part_shows_its_defaults() -> None:
    assert "reader.width" in invoke("show", "mlp").stdout
    assert document("show", "weight-transformer")["takes"] == ["weights"]


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("mtw", "error: no method or data set named 'mtw'; did you mean 'mwt'? known: bach, beat, bigbuckbunny, "),
        (
            "mwt+cifar11",
            "error: no data set named 'cifar11'; did you mean 'cifar10'? known: bach, beat, bigbuckbunny, ",
        ),
        ("folder", "error: data set 'folder': 'folder' needs a place, as in 'folder:PATH'"),
        ("mwt,wt+digits", "error: one METHOD+DATASET at a time, as in mwt+cifar10; given: 'mwt,wt+digits'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(what: str, line: str) -> None:
    result = invoke("show", what)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(line)


def test_cite_prints_each_entry_once() -> None:
    text = invoke("cite", "mwt+cifar10", "wt").stdout
    assert text.count("@inproceedings{gielisse2025mwt") == 1
    assert "krizhevsky2009learning" in text
    assert "error: 'pixels' names no publication to cite" in invoke("cite", "pixels").stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_asks_inrbench(shell: str) -> None:
    assert f"_INRBENCH_COMPLETE={shell}_complete" in invoke("completion", shell).stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["run", "mw"], ["mwt+", "mwt-l+"]),
        (["run", "mwt,w"], ["mwt,wt+", "mwt,wt-two-stage+"]),
        (["run", "mwt+ci"], ["mwt+cifar10", "mwt+cifar100"]),
        (["run", "mwt+mnist,fo"], ["mwt+mnist,folder:"]),
        (["run", "mwt+mnist", "--profile", ""], ["paper", "laptop", "smoke"]),
        (["run", "mwt+cifar10", "--set", "fitter.st"], ["fitter.steps="]),
        (["run", "--set", "re"], ["reader."]),
        (["run", "nope+cifar10", "--set", "re"], ["reader."]),
        (["show", "cif"], ["cifar10", "cifar100"]),
    ],
)
def test_a_shell_completes_names_and_settings(words: list[str], found: list[str]) -> None:
    environment = {
        "_INRBENCH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["inrbench", *words]),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(cli, [], prog_name="inrbench", env=environment)
    assert [line.partition(",")[2] for line in result.stdout.splitlines()] == found


def test_metrics_are_documented_in_one_line_each() -> None:
    assert all("\n" not in text and text == inspect.cleandoc(text) for _, text in METRICS.values())
