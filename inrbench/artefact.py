"""Neural data sets as artefacts: a folder that holds the representations of a data set and all it takes to use them.

::

    DIR/manifest.json            what it is, where it is from, and the checksum of every other file; written last
    DIR/shared.safetensors       what the trained fitter shares: with a row enough to answer `query`
    DIR/statistics.safetensors   mean, std, min, max of each element over the training signals, copies left out
    DIR/train-00000.safetensors  rows by split and shard: named arrays, ids, copies, labels, errors

>>> artefact = open_artefact(Path("latents"))  # doctest: +SKIP
>>> artefact.splits["train"].rows.take(np.array([3, 1, 2])).arrays["latent"].shape  # doctest: +SKIP
(3, 512)
"""

from __future__ import annotations

from inrbench.artefacts.opened import Artefact, open_artefact
from inrbench.artefacts.split import Split

__all__ = ["Artefact", "Split", "open_artefact"]
