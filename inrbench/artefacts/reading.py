"""A reader on a neural data set that lies on a disk: trained on its training rows, scored on the rows of a split.

This module's source is part of the keys of both stages.
"""

from __future__ import annotations

import numpy as np

from inrbench import metrics
from inrbench.artefacts.split import Split
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import NotFinite
from inrbench.interfaces import Classifier, Trained
from inrbench.pipeline import Outcome
from inrbench.representations import NeuralDataSet
from inrbench.stages import Stages

__all__ = ["read_rows"]

#: Rows that are read at a time.
ROWS = 1024


def read_rows(data: NeuralDataSet, scored: Split, reader: Classifier, run: CellRun, stages: Stages) -> Outcome:
    """Train ``reader`` on ``data`` unless ``stages`` kept it, and read ``scored``, augmented copies left out.

    The costs are those of reading alone. Raises NotFinite.
    """
    assert scored.labels is not None, "checked before"
    state = stages.trained("read", run)
    if state is None:
        with run.clock("read_train"), run.checkpoints_in(stages.path("read")):
            state = Trained(reader.train(data, run))
        stages.keep_trained("read", state, run)
    reader.load(state.shared)
    own = np.flatnonzero(scored.copies == 0)
    labels = scored.labels[own]
    logits = []
    with run.progress.task("read", len(own)) as task:
        for first in range(0, len(own), ROWS):
            rows = scored.rows.take(own[first : first + ROWS])
            with run.clock("read"):
                logits.append(np.asarray(reader.predict(rows, run)["logits"]))
            task.advance(len(rows))
            run.stop_here("read")
    read = np.concatenate(logits)
    if not np.isfinite(read).all():
        raise NotFinite("the reader's logits are not finite")
    values, correct = metrics.classification(read, labels)
    errors, vectors = _reconstruction(scored, own)
    vectors |= {"logits": read.astype(np.float32), "labels": labels, "correct": correct}
    facts = reader.facts()
    costs = {
        "read_train_s": run.seconds.get("read_train", 0.0),
        "read_s": run.seconds.get("read", 0.0),
        "reader_parameters": float(facts.parameters),
    }
    if facts.flops is not None:
        costs["read_flops_per_signal"] = float(facts.flops)
    return Outcome(errors | values, costs, vectors)


def _reconstruction(split: Split, own: Array) -> tuple[dict[str, float], dict[str, Array]]:
    """The metrics of the errors that were measured when the rows were made."""
    ids = split.ids[own]
    vectors: dict[str, Array] = {"ids": ids}
    if split.mse is None or split.unclamped is None:
        return {}, vectors
    vectors["mse"] = split.mse[own]
    if split.estimate is not None and np.isfinite(split.estimate[own]).any():
        vectors["mse_estimate"] = split.estimate[own]
    return metrics.of_vectors(vectors, split.unclamped[own]), vectors
