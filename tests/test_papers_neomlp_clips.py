"""The sweeps of NeoMLP's tables on single clips: every cell has the settings that the paper lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inrbench.cells import Cell
from inrbench.requests import cells_of
from inrbench.trees import flatten

FOLDER = Path(__file__).parents[1] / "leaderboards" / "papers"
if not (FOLDER / "neomlp-table1.yaml").exists():
    pytest.skip("the sweeps are in a checkout alone", allow_module_level=True)
pytest.importorskip("inrbench_av")

TABLES: dict[str, Any] = yaml.safe_load((FOLDER / "published.yaml").read_text())["neomlp"]["tables"]


def cells(name: str) -> list[Cell]:
    return cells_of([str(FOLDER / f"neomlp-{name}.yaml")])


def own(cell: Cell) -> dict[str, Any]:
    return dict(flatten(cell.tree()))


def test_the_cells_of_table_1_carry_what_it_prints() -> None:
    found = {(cell.method.name, cell.dataset): cell.published for cell in cells("table1")}
    assert len(found) == 12
    for row in TABLES["table1"]["rows"]:
        for clip in ("bach", "bikes"):
            published = found[row["method"], clip]
            assert published is not None
            assert published["metrics"] == {"psnr_db": row[clip]}
        published = found[row["method"], "bigbuckbunny"]
        assert published is not None
        sound, picture = row["bigbuckbunny_audio"], row["bigbuckbunny_video"]
        assert published["metrics"] == {"psnr_audio_db": sound, "psnr_video_db": picture}


def test_the_cells_of_table_6_have_its_batches_and_are_those_of_table_1() -> None:
    found = {(cell.method.name, cell.dataset): cell for cell in cells("table6")}
    for row in TABLES["table6"]["rows"]:
        batch = own(found[row["method"], row["signal"]])["fitter.batch_points"]
        assert (308_207 if batch is None else batch) == row["batch"]
    assert {key: own(cell) for key, cell in found.items()} == {
        (cell.method.name, cell.dataset): own(cell) for cell in cells("table1")
    }


@pytest.mark.parametrize(
    ("clip", "siren", "neomlp"),
    [
        ("bach", "siren_audio", "neomlp_audio"),
        ("bikes", "siren_video", "neomlp_video"),
        ("bigbuckbunny", "siren_audio_visual", "neomlp_video"),
    ],
)
def test_fields_have_the_parameters_of_the_paper(clip: str, siren: str, neomlp: str) -> None:
    said = TABLES["text"]["parameters"]
    found = {cell.method.name: cell for cell in cells("table1") if cell.dataset == clip}
    for method, name in (("siren", siren), ("neomlp", neomlp)):
        assert found[method].build_fitter().facts().parameters == said[name]


def test_the_cells_without_features_differ_in_nothing_else() -> None:
    one, other = (own(cell) for cell in cells("table5a"))
    assert {key for key in one if one[key] != other[key]} == {"inr.rff"}
    assert (one["inr.rff"], other["inr.rff"]) == (True, False)
    printed = [cell.published["metrics"]["psnr_db"] for cell in cells("table5a") if cell.published is not None]
    assert printed == [39.06, 35.92]
