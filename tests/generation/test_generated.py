"""Generation on a small neural data set whose latents are its images: what is drawn, scored, kept and refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inrbench import draws
from inrbench.analysis import Context
from inrbench.artefact import Artefact, Split
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import BadSetting, Refused, UnknownName, UsageError
from inrbench.generation.generated import ROWS_OF, Generated, generate, samples_picture, save_samples
from inrbench.generation.planned import plan_generation
from inrbench.generation.scores import Scores, quota
from inrbench.render import GAP, SMALLEST_SIDE
from inrbench.representations import Layout, Representations
from inrbench.signals import GridSignals, PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("grid", (4, 4), 2, 1),), num_classes=2, class_names=("left", "right"))
TRAIN, TEST = 160, 80
ORIGIN = {"method": "none", "dataset": "halves", "profile": "smoke", "seed": 0, "settings": None, "from": "elsewhere"}


def halves(count: int, seed: int, first_id: int) -> GridSignals:
    """Images [4, 4, 1], bright on the left or on the right."""
    rng = draws.generator(seed, "halves")
    labels = rng.permutation(np.arange(count) % 2)
    values = 0.2 + 0.02 * rng.standard_normal((count, 4, 4, 1))
    for side in (0, 1):
        values[labels == side, :, 2 * side : 2 * side + 2] += 0.5
    return GridSignals(np.clip(values, 0.0, 1.0), labels, np.arange(first_id, first_id + count), (1.0, 0.0))


class Decoder:
    """Latents are the images themselves, less 0.5."""

    def query(self, rows: Representations, domain: Any, run: Any) -> Any:
        assert domain.shape == (4, 4)
        yield rows.arrays["latent"].reshape(-1, 4, 4, 1) + 0.5


def artefact_of(kind: str = "latent", *, labels: bool = True, copies: int = 1, **shapes: Any) -> Artefact:
    shape = (16,) if kind == "latent" else (4, 4, 1)
    layout = Layout(kind, {"latent": shapes.get("shape", shape)})
    splits = {}
    for name, signals, count in (("train", halves(TRAIN, 0, 0), copies), ("test", halves(TEST, 1, 1000), 1)):
        latents = np.tile(signals.values.reshape(-1, *layout.shapes["latent"]) - 0.5, (count, *[1] * len(shape)))
        number = np.repeat(np.arange(count), len(signals))
        rows = Representations(layout, {"latent": latents.astype(np.float32)}, np.tile(signals.ids, count), number)
        told = np.tile(signals.labels, count) if labels else None  # type: ignore[arg-type]
        splits[name] = Split(rows, told, None, None, None)
    manifest = {"name": "none+halves", "origin": ORIGIN, "data": {"checksum": f"halves {labels}"}, "facts": {}}
    spec = SPEC if labels else SignalSpec(SPEC.parts)
    return Artefact(Path("halves"), manifest, layout, spec, {}, splits, {}, f"halves {kind} {labels} {copies}")


def context_of(artefact: Artefact, run: CellRun) -> Context:
    context = Context(artefact, run)
    context.__dict__["fitter"] = Decoder()
    context.__dict__["_data"] = {"train": halves(TRAIN, 0, 0), "test": halves(TEST, 1, 1000)}
    return context


def generated(artefact: Artefact, **request: Any) -> Generated:
    run = CellRun(request.get("seed", 0))
    one = plan_generation(artefact, **{"samples": 40, **request})
    return generate(one, context_of(artefact, run), run)


@pytest.fixture(scope="module")
def whole() -> Generated:
    return generated(artefact_of(), guidances=[1.0, 2.0])


# ---------------------------------------------------------------- what is drawn and scored


def test_samples_are_drawn_for_each_guidance_and_scored_beside_the_baselines(whole: Generated) -> None:
    names = ["samples, guidance 1", "samples, guidance 2"]
    assert list(whole.drawn) == names
    assert list(whole.metrics) == [*names, *ROWS_OF.values()]
    rows, asked = whole.drawn[names[0]]
    assert rows.arrays["latent"].shape == (40, 16)
    assert asked is not None
    assert np.bincount(asked).tolist() == [20, 20]
    assert not np.array_equal(rows.arrays["latent"], whole.drawn[names[1]][0].arrays["latent"])


def test_training_rows_are_close_and_a_gaussian_is_close_in_latents_alone(whole: Generated) -> None:
    real, gaussian, independent = (whole.metrics[ROWS_OF[n]] for n in ("train", "gaussian", "gaussian_independent"))
    assert real["frechet_latent"] < 0.2
    assert gaussian["frechet_latent"] < 0.2 < independent["frechet_latent"]
    assert real["frechet_latent_by_class"] < 0.1 < gaussian["frechet_latent_by_class"]
    assert real["frechet_classifier"] < gaussian["frechet_classifier"]
    assert real["asked_class"] > 0.95
    assert 0.2 < gaussian["asked_class"] < 0.8


def test_the_tables_say_what_the_distances_are(whole: Generated) -> None:
    table = whole.findings.tables["Fréchet distances"]
    assert "small classifier, test" in table[0]
    assert not any("FID" in heading for heading in table[0])
    assert [row["rows"] for row in table] == list(whole.metrics)
    assert table[0]["asked class, %"] == 100.0 * whole.metrics["samples, guidance 1"]["asked_class"]
    assert "Small classifier: 'cnn', trained here" in whole.findings.note
    assert "this is no FID" in whole.findings.note
    counts = whole.findings.tables["nearest training images guidance-2"]
    assert [(row["class"], row["samples"], row["training images"]) for row in counts] == [("0", 20, 80), ("1", 20, 80)]
    assert all(1 <= row["distinct nearest"] <= 20 for row in counts)
    assert counts[0]["expected"] == pytest.approx(80 * (1 - (79 / 80) ** 20))


def test_pictures_hold_a_line_for_each_class_and_pairs_with_the_nearest(whole: Generated) -> None:
    assert list(whole.findings.pictures) == ["guidance-1", "nearest-guidance-1", "guidance-2", "nearest-guidance-2"]
    side = SMALLEST_SIDE + 2 * GAP
    sizes = [Image.open(io.BytesIO(picture)).size for picture in whole.findings.pictures.values()]
    assert sizes == [(10 * side, 2 * side)] * 4


def test_the_samples_are_kept_with_the_classes_asked_for(whole: Generated, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    paths = save_samples(whole, tmp_path)
    assert [path.name for path in paths] == ["samples-guidance-1.safetensors", "samples-guidance-2.safetensors"]
    arrays = load_file(paths[0])
    np.testing.assert_array_equal(arrays["latent"], whole.drawn["samples, guidance 1"][0].arrays["latent"])
    np.testing.assert_array_equal(arrays["classes"], whole.drawn["samples, guidance 1"][1])


def test_a_second_generation_samples_only_and_draws_the_same(whole: Generated, monkeypatch: Any) -> None:
    from inrbench_ddpm.ddpm import DDPM

    def never(*_: Any) -> None:
        raise AssertionError("it was trained before")

    monkeypatch.setattr(DDPM, "train", never)
    again = generated(artefact_of(), guidances=[2.0])
    rows = again.drawn["samples, guidance 2"][0]
    np.testing.assert_array_equal(rows.arrays["latent"], whole.drawn["samples, guidance 2"][0].arrays["latent"])
    assert again.metrics["samples, guidance 2"] == whole.metrics["samples, guidance 2"]
    generated(artefact_of(), guidances=[1.0], overrides=[{"reader": {"sample_steps": 5}}])
    with pytest.raises(AssertionError, match="trained before"):
        generated(artefact_of(), overrides=[{"reader": {"scale": 2.5}}])
    with pytest.raises(AssertionError, match="trained before"):
        generated(artefact_of(), seed=1)


def test_classes_that_are_asked_for_are_all_that_counts() -> None:
    found = generated(artefact_of(), classes=[1], samples=30)
    asked = found.drawn["samples"][1]
    assert asked is not None
    assert set(asked.tolist()) == {1}
    assert found.metrics[ROWS_OF["train"]]["asked_class"] == 1.0
    gaussian = found.metrics[ROWS_OF["gaussian"]]  # fitted to rows of that class
    assert gaussian["asked_class"] > 0.95
    assert gaussian["frechet_latent"] == pytest.approx(gaussian["frechet_latent_by_class"])


def test_a_generator_without_classes_draws_any() -> None:
    found = generated(artefact_of(), overrides=[{"reader": {"conditional": False}}], samples=25)
    assert found.drawn["samples"][1] is None
    assert "asked_class" not in found.metrics["samples"]
    assert "frechet_classifier" in found.metrics["samples"]
    side = SMALLEST_SIDE + 2 * GAP
    assert Image.open(io.BytesIO(found.findings.pictures["samples"])).size == (10 * side, 3 * side)


def test_a_data_set_without_labels_has_distances_of_latents_and_pictures() -> None:
    found = generated(artefact_of(labels=False), overrides=[{"reader": {"conditional": False}}])
    assert {"frechet_latent", "distinct_nearest"} <= set(found.metrics["samples"])
    assert "frechet_classifier" not in found.metrics["samples"]
    assert "samples" in found.findings.pictures


def test_a_grid_of_latents_and_copies_work_alike() -> None:
    found = generated(artefact_of("latent-grid", copies=2))
    assert found.drawn["samples"][0].arrays["latent"].shape == (40, 4, 4, 1)
    assert found.findings.note.startswith("40 rows each; test has 80, train 160.")  # copies are learned, not scored


def test_rows_that_nobody_can_render_have_distances_of_latents_alone() -> None:
    artefact = artefact_of()
    run = CellRun(0)
    found = generate(plan_generation(artefact, samples=40), Context(artefact, run), run)
    assert set(found.metrics["samples"]) == {"frechet_latent", "frechet_latent_train", "frechet_latent_by_class"}
    assert found.findings.pictures == {}
    assert "No pixels: halves was imported from elsewhere" in found.findings.note


def test_the_classifier_is_the_same_for_every_seed_and_generator() -> None:
    readers = []
    for seed, kind in ((0, "latent"), (7, "latent-grid")):
        run = CellRun(seed)
        one = plan_generation(artefact_of(kind), seed=seed)
        readers.append(Scores(context_of(one.artefact, run), run, classifier=one.classifier).readers["classifier"][0])
    states = [reader.state() for reader in readers]
    assert all(np.array_equal(array, states[1][name]) for name, array in states[0].items())


# ---------------------------------------------------------------- its parts


def test_quotas_hold_for_every_beginning() -> None:
    order = quota({0: 0.5, 3: 0.3, 7: 0.2}, 100)
    np.testing.assert_array_equal(order[:20], quota({0: 0.5, 3: 0.3, 7: 0.2}, 20))
    for n in range(1, 101):
        for c, share in ((0, 0.5), (3, 0.3), (7, 0.2)):
            assert abs((order[:n] == c).sum() - share * n) <= 1.0
    assert quota({4: 2.0, 1: 2.0}, 4).tolist() == [1, 4, 1, 4]


def test_a_class_with_fewer_samples_ends_in_white() -> None:
    images = np.zeros((5, SMALLEST_SIDE, SMALLEST_SIDE, 1), dtype=np.float32)
    pixels: Array = samples_picture(images, np.array([1, 0, 1, 1, 0]))
    side = SMALLEST_SIDE + 2 * GAP
    assert pixels.shape == (2 * side, 3 * side, 3)
    assert (pixels[:side, 2 * side :] == 255).all()
    assert (pixels[GAP : side - GAP, GAP : side - GAP] == 0).all()
    assert (pixels[side + GAP : -GAP, 2 * side + GAP : -GAP] == 0).all()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"profile": "lap"}, UnknownName, "no profile named 'lap'; did you mean 'laptop'"),
        ({"overrides": [{"inr": {"width": 3}}]}, BadSetting, "no setting 'inr' of a generation"),
        ({"overrides": [{"reader": {"widht": 3}}]}, BadSetting, "no setting 'reader.widht'; did you mean"),
        ({"overrides": [{"reader": "mlp"}]}, Refused, "reader 'mlp' does not generate; readers that do: ddpm"),
        ({"samples": 1}, UsageError, "samples: a whole number from 2 on; given: 1"),
        ({"classes": [5]}, BadSetting, "--classes 5: the training rows have 0, 1"),
        ({"extractor": "inception"}, UsageError, "--extractor 'inception': allowed are cnn, inception:FILE"),
        ({"extractor": "inception:none.safetensors"}, UsageError, "there is no file 'none.safetensors'"),
        (
            {"overrides": [{"reader": {"conditional": False}}], "guidances": [2.0]},
            BadSetting,
            "--guidance needs a generator that is told the class",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_one_line(request_: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plan_generation(artefact_of(), **request_)


def test_a_kind_that_no_generator_reads_is_refused() -> None:
    with pytest.raises(
        Refused, match=r"reads latent, latent-grid, but halves holds 'weights'; generators of 'weights'"
    ):
        plan_generation(artefact_of("weights", shape=(16,)))


def test_rows_without_classes_are_refused_with_what_to_set() -> None:
    with pytest.raises(Refused, match=r"has no classes; --set reader\.conditional=false"):
        plan_generation(artefact_of(labels=False))
