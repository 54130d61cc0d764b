"""What generated representations are scored with: Fréchet distances, a classifier trained here, nearest images.

Everything is a function of rows, so that baselines are scored as samples are. Distances are named after what they are
taken on; one on a classifier that was trained here is never called FID.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from inrbench import draws
from inrbench.analysis import Context
from inrbench.arrays import digest_of
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Grid
from inrbench.errors import Refused
from inrbench.generation.frechet import frechet_distance
from inrbench.generation.memorisation import distinct, expected_distinct, nearest
from inrbench.interfaces import Reader, Trained
from inrbench.keys import reading_ingredients, reading_keys
from inrbench.plugin import Plugin
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.selection import INDEX_SEED
from inrbench.settings import Settings, load_target
from inrbench.stages import Stages, cache_folder

__all__ = ["Scores", "flat", "quota"]

#: Most rows of a split that a distance is taken to, and images that the classifier learns from; drawn by their number.
REFERENCE = 50_000
CHUNK = 256
#: The stage of a reader of pixels that distances are taken on.
FEATURES = "features"


class Scores:
    """Scores of rows against the splits train and test of a neural data set, of the classes asked for alone.

    ``classifier`` and ``extractor`` are readers of pixels with their settings. Without the data that the rows were made
    of (imported ones) there are distances of latents alone, and `missing` says why.
    """

    def __init__(
        self,
        context: Context,
        run: CellRun,
        *,
        classes: tuple[int, ...] | None = None,
        classifier: tuple[Plugin, Settings] | None = None,
        extractor: tuple[Plugin, Settings] | None = None,
    ) -> None:
        self.context, self.run, self.classes = context, run, classes
        self.chosen = {"classifier": classifier, "extractor": extractor}
        self.missing = self._missing()

    # ------------------------------------------------------------------ scores of rows

    def of(self, rows: Representations, asked: Array | None, images: Array | None) -> dict[str, float]:
        """All scores of ``rows``; ``asked`` are the classes that they were asked for, ``images`` what they show.

        Names are those of a record's metrics; lower is better in all but ``asked_class``.
        """
        values = flat(rows)
        found = {f"frechet_latent{ending}": frechet_distance(values, self.latents[split]) for ending, split in BOTH}
        if asked is not None and self.labels["test"] is not None:
            found["frechet_latent_by_class"] = self._by_class(values, asked)
        if images is None:
            return found
        for part, (reader, name) in self.readers.items():
            features = self.features(reader, images)
            for ending, split in BOTH:
                found[f"{name}{ending}"] = frechet_distance(features, self.reference_features[part][split])
            if part == "classifier" and asked is not None:
                found["asked_class"] = float((self.predicted(reader, images) == asked).mean())
        return found

    def memorised(self, images: Array, asked: Array | None) -> tuple[Array, list[dict[str, Any]], dict[str, float]]:
        """(place in train of each image's nearest, counts by class, the same in all) by L2 of pixels."""
        with self.run.progress.task("nearest images", len(self.places["train"])) as task:
            chunks = ((chunk, labels) for chunk, labels in self._train_chunks(task))
            place, away = nearest(images.reshape(len(images), -1), chunks, asked)
        labels = self.labels["train"]
        groups: list[tuple[str, Array, int]] = [("all", np.ones(len(images), dtype=bool), len(self.places["train"]))]
        if asked is not None and labels is not None:
            groups = [(str(c), asked == c, int((labels == c).sum())) for c in np.unique(asked)]
        rows: list[dict[str, Any]] = []
        for name, own, among in groups:
            mean, spread = expected_distinct(among, int(own.sum()))
            counts: dict[str, Any] = {"class": name, "samples": int(own.sum()), "training images": among}
            rows.append({**counts, "distinct nearest": distinct(place[own]), "expected": mean, "expected sd": spread})
        total = {
            "distinct_nearest": float(sum(row["distinct nearest"] for row in rows)),
            "distinct_expected": float(sum(row["expected"] for row in rows)),
            "distinct_expected_sd": float(np.sqrt(sum(row["expected sd"] ** 2 for row in rows))),
            "nearest_rmse": float(np.median(away)),
        }
        return place, rows, total

    # ------------------------------------------------------------------ references

    @cached_property
    def places(self) -> dict[str, Array]:
        """The rows of each split that stand for signals themselves, of the classes asked for."""
        found = {}
        for name in ("train", "test"):
            split = self.context.artefact.splits[name]
            own = np.asarray(split.copies) == 0
            if self.classes is not None and split.labels is not None:
                own &= np.isin(split.labels, self.classes)
            places = np.flatnonzero(own)
            if len(places) > REFERENCE:
                order = draws.generator(INDEX_SEED, "generation", len(places))
                places = places[np.sort(order.choice(len(places), REFERENCE, replace=False))]
            found[name] = places
        return found

    @cached_property
    def labels(self) -> dict[str, Array | None]:
        """Their classes."""
        splits = {name: self.context.artefact.splits[name].labels for name in self.places}
        return {n: None if labels is None else np.asarray(labels)[self.places[n]] for n, labels in splits.items()}

    @cached_property
    def latents(self) -> dict[str, Array]:
        """[rows, values] of each split, float32."""
        return {name: flat(self._rows(name)) for name in self.places}

    @cached_property
    def readers(self) -> dict[str, tuple[Any, str]]:
        """The readers of pixels, trained, each with the name of its distance; by "classifier" and "extractor"."""
        found: dict[str, tuple[Any, str]] = {}
        for part, chosen in self.chosen.items():
            if chosen is None or self.missing or (part == "classifier" and self.labels["train"] is None):
                continue
            reader = self._reader(*chosen)
            metric = getattr(reader, "metric", "")
            found[part] = (
                reader,
                "fid" if metric == "FID" else f"frechet_{'classifier' if not metric else 'inception'}",
            )
        return found

    @cached_property
    def reference_features(self) -> dict[str, dict[str, Array]]:
        """Features of the original images of each split, for each reader of pixels."""
        return {
            part: {name: self.features(reader, self.originals(name)) for name in self.places}
            for part, (reader, _) in self.readers.items()
        }

    def originals(self, split: str) -> Array:
        """The signals of ``split`` themselves, [signals, *grid, channels] in [0, 1]."""
        return _images(self.context, self._rows(split))

    def test_accuracy(self) -> float | None:
        """The classifier's, on the original images of the test split."""
        labels = self.labels["test"]
        if "classifier" not in self.readers or labels is None:
            return None
        return float((self.predicted(self.readers["classifier"][0], self.originals("test")) == labels).mean())

    # ------------------------------------------------------------------ pixels

    def rendered(self, rows: Representations, name: str) -> Array | None:
        """What ``rows`` show on the signals' own grid, clamped to [0, 1], float32; None where nobody can say."""
        if self.missing:
            return None
        found: list[Array] = []
        with self.run.progress.task(f"render {name}", len(rows)) as task:
            for first in range(0, len(rows), CHUNK):
                some = rows.take(slice(first, first + CHUNK))
                found += self.context.fitter.query(some, self.context.domain, self.run)
                task.advance(len(some))
                self.run.stop_here("rendering")
        return np.asarray(np.clip(np.concatenate(found), 0.0, 1.0).astype(np.float32))

    def features(self, reader: Any, images: Array) -> Array:
        """[images, features] of a reader of pixels."""
        parts = [np.asarray(reader.predict(rows, self.run, tap=(FEATURES,))[FEATURES]) for rows in _pixels(images)]
        return np.concatenate(parts)

    def predicted(self, reader: Any, images: Array) -> Array:
        """[images] classes by the classifier."""
        return np.concatenate([reader.predict(rows, self.run)["logits"].argmax(axis=1) for rows in _pixels(images)])

    def _reader(self, plugin: Plugin, settings: Settings) -> Reader:
        """A reader of pixels, trained on the training images once for all neural data sets and seeds; it is kept."""
        spec, labels = self.context.artefact.signal, np.asarray(self.context.artefact.splits["train"].labels)
        layout = Layout("samples", {"values": (*spec.parts[0].shape, spec.channels)})
        made: Reader = load_target(plugin.target, f"reader {plugin.name!r}")(settings, layout, spec)
        if reason := made.refuses(layout):
            raise Refused(f"reader {plugin.name!r} cannot read these pixels: {reason}")
        split = self.context.artefact.splits["train"]
        own = np.flatnonzero(np.asarray(split.copies) == 0)[:REFERENCE]
        data = (
            f"{self.context.artefact.manifest['data'].get('checksum')} {digest_of({'ids': np.asarray(split.ids)[own]})}"
        )
        kind = self.run.device.partition(":")[0]
        keys = reading_keys(reading_ingredients(plugin, settings, INDEX_SEED, data, kind, FEATURES))
        stages = Stages(cache_folder() / "stages", keys)
        state = stages.trained("read", CellRun(INDEX_SEED))
        if state is None:
            run = CellRun(INDEX_SEED, device=self.run.device, threads=self.run.threads, progress=self.run.progress)
            run.stop = self.run.stop
            rows = next(_pixels(_images(self.context, split.rows.take(own)), len(own)))
            with run.clock("read_train"), run.checkpoints_in(stages.path("read")):
                state = Trained(made.train(NeuralDataSet({}, {"train": (rows, labels[own])}, {}), run))
            stages.keep_trained("read", state, run)
        made.load(state.shared)
        return made

    def _rows(self, split: str) -> Representations:
        return self.context.artefact.splits[split].rows.take(self.places[split])

    def _train_chunks(self, task: Any) -> Iterator[tuple[Array, Array]]:
        labels = self.labels["train"]
        rows = self._rows("train")
        for first in range(0, len(rows), 16 * CHUNK):
            part = slice(first, first + 16 * CHUNK)
            images = _images(self.context, rows.take(part))
            yield images.reshape(len(images), -1), np.zeros(len(images)) if labels is None else labels[part]
            task.advance(len(images))
            self.run.stop_here("the search for nearest images")

    def _by_class(self, values: Array, asked: Array) -> float:
        """Mean over classes of the distance of a class's rows to the test rows of that class."""
        labels = self.labels["test"]
        assert labels is not None
        pairs = [(values[asked == c], self.latents["test"][labels == c]) for c in np.unique(asked)]
        found = [frechet_distance(own, others) for own, others in pairs if min(len(own), len(others)) > 1]
        return float(np.mean(found)) if found else float("nan")

    def _missing(self) -> str:
        """Why there are no pixels; empty where there are. Raises BadData where the data is not what it was."""
        try:
            domain = self.context.domain
            if not isinstance(domain, Grid) or domain.coord_dim != 2:
                return "its signals are no images"
            for split in self.places:
                self.context.signals(self._rows(split).take(slice(0, 1)))
            self.context.fitter  # noqa: B018  # builds it, or says why not
        except Refused as error:
            return str(error)
        return ""


#: Endings of names, and the split that a distance is taken to.
BOTH: tuple[tuple[str, str], ...] = (("", "test"), ("_train", "train"))


def flat(rows: Representations) -> Array:
    """All values of each row, arrays by name: [rows, values]."""
    return np.concatenate(
        [np.asarray(rows.arrays[name]).reshape(len(rows), -1) for name in sorted(rows.arrays)], axis=1
    )


def quota(shares: Mapping[int, float], count: int) -> Array:
    """``count`` classes in an order in which each has its share among the first n, for every n, as nearly as can be.

    The class of sample i does not depend on ``count``.
    """
    classes = np.array(sorted(shares))
    wanted = np.array([shares[int(c)] for c in classes])
    wanted = wanted / wanted.sum()
    given = np.zeros(len(classes))
    result = np.empty(count, dtype=np.int64)
    for i in range(count):
        chosen = int((wanted * (i + 1) - given).argmax())
        given[chosen] += 1
        result[i] = classes[chosen]
    return result


def _images(context: Context, rows: Representations) -> Array:
    signals = context.signals(rows)
    stacked = signals.stacked()
    if stacked is None:
        raise Refused(f"{context.artefact.folder}: its signals share no grid")
    _, stored, (scale, offset) = stacked
    return np.asarray(stored).astype(np.float32) * np.float32(scale) + np.float32(offset)


def _pixels(images: Array, size: int = 1024) -> Iterator[Representations]:
    """Images as rows of the kind `samples`."""
    layout = Layout("samples", {"values": tuple(images.shape[1:])})
    for first in range(0, len(images), size):
        some = images[first : first + size]
        yield Representations(layout, {"values": some}, np.arange(len(some)), np.zeros(len(some), dtype=np.int64))
