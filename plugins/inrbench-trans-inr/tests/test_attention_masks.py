"""Attention masks: by hand, against the definition, and through `inrbench analyse`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from inrbench_trans_inr.attention_masks import AttentionMasks, masks_of, on_pixels
from inrbench_trans_inr.settings import AttentionMasksSettings
from PIL import Image

from inrbench.cell_run import CellRun
from inrbench.cli import cli
from inrbench.errors import BadSetting, Refused
from inrbench.representations import Layout, Representations

Fixture = Callable[..., Any]


def context(fitter: Any, signals: Any) -> Any:
    """What the core hands over, for a sample that is all of ``signals``."""
    layout = Layout("tokens", {})
    rows = Representations(layout, {}, signals.ids, np.zeros(len(signals), dtype=np.int64))
    return SimpleNamespace(
        fitter=fitter, run=CellRun(0), split="test", sample=lambda count: rows, signals=lambda rows: signals
    )


def test_attention_sums_to_one_over_all_tokens(drawn: Fixture, images: Fixture) -> None:
    fitter = drawn(shard=2)
    for block in (0, 1):
        found = fitter.attention(images(3), block, CellRun(0))
        assert found.shape == (3, 2, 13, 25 + 13)
        assert (found > 0).all()
        np.testing.assert_allclose(found.sum(-1), 1.0, rtol=1e-5)


def test_attention_is_that_by_which_the_values_are_weighed(drawn: Fixture, images: Fixture, observe: Fixture) -> None:
    """The last block's output for the weight tokens, put together again from the attention that is shown."""
    fitter = drawn()
    with torch.no_grad():
        data = fitter.tokenizer(fitter.images_of(observe(images(1))))
        attention = torch.as_tensor(fitter.attention(images(1), 1, CellRun(0)))
        transformer = fitter.network.transformer
        hidden = torch.cat([data, transformer.weight_tokens[None]], dim=1)
        hidden = transformer.blocks[0](hidden, 38)
        last = transformer.blocks[1]
        value = last.query_key_value(last.norm_attention(hidden)).view(1, 38, 3, 2, 5)[:, :, 2].transpose(1, 2)
        mixed = (attention @ value).transpose(1, 2).reshape(1, 13, 10)
        behind = hidden[:, -13:] + last.out(mixed)
        feed = last.narrow(torch.nn.functional.gelu(last.widen(last.norm_feed(behind))))
        torch.testing.assert_close(behind + feed, transformer(data), rtol=1e-5, atol=1e-6)


def test_masks_by_hand() -> None:
    attention = np.array([0.1, 0.2, 0.0, 0.1, 0.6]).reshape(1, 1, 1, 5)  # 2 x 2 patches and a weight token
    masks, seen = masks_of(attention, 2, 2)
    assert seen.tolist() == [[[pytest.approx(0.4)]]]
    np.testing.assert_allclose(masks[0, 0, 0], [[0.25, 0.5], [0.0, 0.25]])
    pixels = on_pixels(masks[0, 0, 0], patch=2, pad=1)
    np.testing.assert_allclose(pixels, [[0.25, 0.5], [0.0, 0.25]])  # the inner pixel of each patch
    assert on_pixels(masks[0, 0, 0], patch=3, pad=0).shape == (6, 6)


def test_the_table_says_where_each_token_looks(drawn: Fixture, images: Fixture) -> None:
    fitter, signals = drawn(), images(3)
    settings = AttentionMasksSettings(tokens=["layers.0:3", "output:0"])
    found = AttentionMasks(settings).run(context(fitter, signals))
    table = found.tables["masks"]
    assert [(row["layer"], row["token"], row["head"]) for row in table] == [
        ("layers.0", 3, 0), ("layers.0", 3, 1), ("output", 0, 0), ("output", 0, 1)
    ]  # fmt: skip
    attention = fitter.attention(signals, 1, CellRun(0))
    assert table[1]["on_image"] == pytest.approx(attention[:, 1, 3, :25].sum(-1).mean())
    assert table[2]["on_image"] == pytest.approx(attention[:, 0, 12, :25].sum(-1).mean())
    assert all(1 <= row["patches"] <= 25 and 1 / 25 <= row["peak"] <= 1 for row in table)
    picture = np.asarray(Image.open(io.BytesIO(found.pictures["masks"])))
    assert picture.shape[0] > 6 * 150 * 1.0
    assert picture.std() > 10
    assert "block 1" in found.note
    other = AttentionMasks(AttentionMasksSettings(tokens=["layers.0:3"], block=0)).run(context(fitter, signals))
    assert other.tables["masks"][0]["peak"] != table[0]["peak"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tokens": ["layers.0:4"]}, r"layers\.0:4: layers\.0 has tokens 0 to 3"),
        ({"tokens": ["layer.0:0"]}, r"no layer 'layer\.0'; did you mean 'layers\.0'"),
        ({"block": 2}, r"analysis\.block=2: this transformer has blocks 0 to 1"),
    ],
)
def test_tokens_and_blocks_that_are_not_there_are_named(
    settings: dict[str, Any], said: str, drawn: Fixture, images: Fixture
) -> None:
    with pytest.raises(BadSetting, match=said):
        AttentionMasks(AttentionMasksSettings.model_validate(settings)).run(context(drawn(), images(1)))


def test_fits_of_another_fitter_are_refused(images: Fixture) -> None:
    with pytest.raises(Refused, match="looks at fits by 'trans-inr'; these are by 'object'"):
        AttentionMasks(AttentionMasksSettings()).run(context(object(), images(1)))


@pytest.mark.cells
def test_masks_of_a_fit_on_disk(tmp_path: Path) -> None:
    rows, out = tmp_path / "rows", tmp_path / "masks"
    smoke = ["--profile", "smoke", "--set", "data.test_size=4", "--threads", "1"]
    made = CliRunner().invoke(cli, ["fit", "trans-inr+digits", "-o", str(rows), *smoke])
    assert made.exit_code == 0, made.output
    asked = ["analyse", "attention-masks", str(rows), "--signals", "2", "-o", str(out), "--json"]
    done = CliRunner().invoke(cli, [*asked, "--set", 'analysis.tokens=["layers.0:0","output:0"]'])
    assert done.exit_code == 0, done.output
    table = json.loads(done.stdout)["tables"]["masks"]
    assert [row["layer"] for row in table] == ["layers.0", "layers.0", "output", "output"]
    assert (out / "attention-masks.png").read_bytes().startswith(b"\x89PNG")
