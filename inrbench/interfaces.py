"""The interfaces between the core and its plugins: NumPy in, NumPy out.

A plugin's target is a class whose constructor takes what its kind says here, and whose methods are those of the
protocol; nothing has to be subclassed. The first argument is always an instance of the plugin's settings model.

======== ============ =======================================================================
kind     protocol     constructor
======== ============ =======================================================================
inr      (backend's)  ``(settings, spec: SignalSpec)``; `inrbench.backends.torch.fields.Field`
fitter   Fitter       ``(settings, spec: SignalSpec, inr)``; inr is None where it needs none
reader   Reader       ``(settings, layout: Layout, spec: SignalSpec)``
dataset  DataSet      ``(settings, rest: str)``; rest is what follows the colon in `folder:PATH`
analysis Analysis     ``(settings)``
======== ============ =======================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from inrbench.domains import Array, Domain
from inrbench.representations import Arrays, Layout, NeuralDataSet, Representations
from inrbench.signals import Part, Signals, SignalSpec

__all__ = [
    "Analysis",
    "AnalysisContext",
    "Classifier",
    "DataSet",
    "Findings",
    "Fitter",
    "FitterFacts",
    "Generator",
    "Head",
    "Reader",
    "ReaderFacts",
    "Run",
    "SteppingFitter",
    "SubsamplingFitter",
    "Trained",
    "WritingDataSet",
]


class Run(Protocol):
    """What the core hands to a stage: the device, keyed draws, a loop that checkpoints, and a log."""

    device: str  # "cpu" or "cuda:0"
    threads: int
    seed: int

    def rng(self, *purpose: object) -> np.random.Generator:
        """The generator keyed by (seed, ``*purpose``)."""
        ...

    def steps(
        self, name: str, total: int, state: Callable[[], Arrays], restore: Callable[[Arrays], None]
    ) -> Iterable[int]:
        """Yield 0 .. total - 1 with progress and an ETA; checkpoint ``state()`` now and then.

        Where a checkpoint of this stage exists, ``restore`` is called with it and counting goes on behind it.
        """
        ...

    def log(self, step: int, **values: float) -> None:
        """Note values of one step (loss, PSNR in dB, ranges).

        With ``fit_s``, what `evaluating` yields, they are a point of the fit's curve over steps and seconds.
        """
        ...

    def evaluating(self) -> AbstractContextManager[float]:
        """Within the block no clock of the work runs: for looking at how good a fit is.

        Yields the seconds of the loop so far without such looks, those before it was resumed included.
        """
        ...


@dataclass(frozen=True)
class FitterFacts:
    """What lanes, costs and tables need to know of a fitter."""

    parameters: int  # as the paper counts them: all that training learns in the fitter
    adapted_values: int  # the fewest numbers that with the shared parts answer `query`
    initialisation: Literal["meta-learned", "auto-decoded", "shared", "independent", "generated", "none"]
    scope: Literal["global", "spatial", "samples"]  # what one representation covers
    train_flops: float | None = None  # 2 x multiply-adds for one signal in training, by definition
    fit_flops: float | None = None  # the same for one fitted signal
    pooled: bool = False  # whether signals that are fitted together share draws: a row depends on all of its split


@dataclass(frozen=True)
class ReaderFacts:
    """What tables need to know of a reader."""

    parameters: int
    flops: float | None = None  # 2 x multiply-adds for one representation, forward


@dataclass(frozen=True)
class Head:
    """A reader that trains together with a fitter; ``labels`` are aligned with the training signals."""

    name: str
    reader: Reader
    share: float  # of its gradient, into all but the head itself
    labels: Array


@dataclass(frozen=True)
class Trained:
    """What training leaves: the fitter's shared arrays, and each head's arrays by the head's name.

    ``metrics`` are measured on what is not kept, as `fit_psnr_db` is on an auto-decoder's own latents.
    """

    shared: Arrays
    heads: Mapping[str, Arrays] = field(default_factory=dict)
    steps: int = 0
    compile_s: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)


class Fitter(Protocol):
    """Turns signals into representations and back."""

    layout: Layout

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Learn what is shared by all signals. ``validation`` may be empty. A fitter that shares nothing returns {}."""
        ...

    def load(self, shared: Arrays) -> None:
        """Take up what `train` returned."""
        ...

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """Represent ``signals``, in order, by shard; never sees a label, and no row depends on the others.

        A fitter whose facts say that it is `pooled` gets all signals of a split in one call.
        """
        ...

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """Values of ``rows`` on ``domain``, in chunks of rows: [chunk, *domain, channels], unclamped, in [0, 1]."""
        ...

    def facts(self) -> FitterFacts:
        """Counts and kinds, known without data and before training."""
        ...


@runtime_checkable
class SubsamplingFitter(Fitter, Protocol):
    """A fitter that may see only some points of a signal: its error on points that it never saw can be told apart."""

    def held_out(self, signals: Signals, run: Run) -> Sequence[Array] | None:
        """For each signal indices of listed points that `fit` does not look at; None where it looks at all."""
        ...


@runtime_checkable
class CompilingFitter(Fitter, Protocol):
    """A fitter that compiles while it fits and queries: what that takes is told apart from the work."""

    @property
    def compile_s(self) -> float:
        """Seconds of compiling in `fit` and `query`, so far."""
        ...


@runtime_checkable
class SteppingFitter(Fitter, Protocol):
    """A fitter that adapts in steps, whose way can be looked at."""

    def trace(self, signals: Signals, run: Run) -> Sequence[Representations]:
        """``signals`` after 0, 1, ... and all steps of `fit`."""
        ...


class Reader(Protocol):
    """Works on representations."""

    def refuses(self, layout: Layout) -> str | None:
        """Why this reader cannot read ``layout``; None if it can."""
        ...

    def train(self, data: NeuralDataSet, run: Run) -> Arrays:
        """Learn from the split "train" of ``data`` (and choose on "validation" where there is one)."""
        ...

    def load(self, state: Arrays) -> None:
        """Take up what `train`, or training as a head, returned."""
        ...

    def facts(self) -> ReaderFacts:
        """Counts, known without data and before training."""
        ...


@runtime_checkable
class Classifier(Reader, Protocol):
    """A reader that tells classes; its stages have names and can be tapped and edited."""

    stages: tuple[str, ...]

    def predict(
        self,
        rows: Representations,
        run: Run,
        *,
        tap: Sequence[str] = (),
        edit: Mapping[str, Callable[[Any], Any]] = {},
    ) -> Arrays:
        """``{"logits": [rows, classes]}`` and, by name, the stages in ``tap``.

        ``edit`` maps a stage's name to a function of its value (in the reader's framework) that replaces it.
        """
        ...


@runtime_checkable
class Generator(Reader, Protocol):
    """A reader that draws new representations, in the layout of those that it was trained on.

    Its settings model may offer ``preset(profile, layout, given) -> Mapping``: what `inrbench generate --profile` sets,
    below the settings ``given``. Settings of the stage "score" are those of sampling; `train` must not use them.
    """

    conditional: bool  # whether classes can be asked for

    def sample(self, count: int, classes: Array | None, run: Run) -> Representations:
        """``count`` new rows, of the ``classes`` [count] where these are asked for; ids count from 0.

        Draws are keyed by the sample: row i is the same, up to rounding, however many are drawn.
        """
        ...


class DataSet(Protocol):
    """Signals in the splits train and test, read from their official files.

    More methods are used where a data set has them: ``about() -> inrbench.data.AboutData`` (licence, homepage,
    size of the download, citation); ``own_files() -> Mapping[str, Path]`` for data of the user's own, whose checksum
    covers exactly these files; ``made_of() -> str`` for signals that are computed when they are asked for: the
    checksum of what they are made of; and `WritingDataSet.write`. Signal ids must be unique over all splits.
    """

    def spec(self) -> SignalSpec:
        """What is known without the data; a data set of the user's own may have to look at it."""
        ...

    @property
    def files(self) -> Sequence[Any]:
        """The official files (`inrbench.data.OfficialFile`); empty where the data is embedded or the user's own."""
        ...

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The splits; ``folder`` is this data set's own below the data root. Raises BadData for damaged files."""
        ...


@runtime_checkable
class WritingDataSet(DataSet, Protocol):
    """A data set that knows what files its signals are: sound, film. `inrbench render` leaves the writing to it."""

    def write(
        self, parts: Sequence[Part], predicted: Sequence[Iterator[Array]], folder: Path, stem: str
    ) -> Sequence[Path]:
        """Write one signal's scored ``parts`` and its reconstruction as files ``stem*`` in ``folder``; the main first.

        ``predicted`` has an iterator for each part, to be used up once: the reconstruction in blocks along the first
        axis of the part's domain, in order, [n, ..., channels of the part], unclamped, in [0, 1]. A block is queried
        when it is asked for, so that a film is never held whole as floats.
        """
        ...


@dataclass(frozen=True)
class Findings:
    """What an analysis leaves. All of it is written to files; tables are printed too."""

    tables: Mapping[str, Sequence[Mapping[str, Any]]]  # the main one first; rows of equal keys: text, numbers, NaN
    note: str  # how it was measured, in sentences
    pictures: Mapping[str, bytes] = field(default_factory=dict)  # PNG files, the main one first


class AnalysisContext(Protocol):
    """What the core hands to an analysis: a neural data set, what made it, and what it was made of."""

    run: Run
    layout: Layout
    split: str  # the split that was asked for
    statistics: Arrays  # of the training signals: "<array>/mean", "/std", "/min", "/max", each of one row's shape

    @property
    def fitter(self) -> Fitter:
        """The fitter that made the rows, built and loaded. Raises Refused where nobody knows it."""
        ...

    @property
    def domain(self) -> Domain:
        """The grid that the signals are on. Raises Refused where they share none."""
        ...

    def num_signals(self, split: str) -> int:
        """Signals in a split, augmented copies not counted."""
        ...

    def shards(self, split: str) -> Iterator[Representations]:
        """All signals of a split in order, some at a time, without their augmented copies."""
        ...

    def sample(self, count: int) -> Representations:
        """``count`` signals of `split`, or all where it has fewer; equal for equal lists of signals."""
        ...

    def signals(self, rows: Representations) -> Signals:
        """What ``rows`` stand for, in their order. Raises Refused where nobody knows it, BadData where it changed."""
        ...


class Analysis(Protocol):
    """Looks at a neural data set, and leaves a table and pictures."""

    def run(self, context: AnalysisContext) -> Findings:
        """Called once; the kind of the rows is one that the plugin's record takes."""
        ...
