"""NeoMLP: fields of self-attention over their own neurons, for single signals and for data sets."""

from __future__ import annotations

from inrbench.plugin import Method, Plugin, hookimpl
from inrbench_neomlp.recipes import FOR_CLIP, LAPTOP_FOR_CLIP, SMOKE_FOR_CLIP
from inrbench_neomlp.set_recipes import FOR_SET, LAPTOP, LAPTOP_FOR_SET, PAPER, SMOKE

__all__ = ["inrbench_fitters", "inrbench_inrs", "inrbench_methods"]

SOURCE = "Kofinas et al., From MLP to NeoMLP: Leveraging Self-Attention for Neural Fields, arXiv 2412.08731"
CITATION = """@article{kofinas2024neomlp,
  author  = {Kofinas, Miltiadis and Papa, Samuele and Gavves, Efstratios},
  title   = {From {MLP} to {NeoMLP}: Leveraging Self-Attention for Neural Fields},
  journal = {arXiv preprint arXiv:2412.08731},
  year    = {2024}
}"""


@hookimpl
def inrbench_inrs() -> list[Plugin]:
    """The field."""
    return [
        Plugin(
            kind="inr",
            api_version=1,
            name="neomlp",
            summary="self-attention over input, hidden and output neurons; the latter two can be a signal's latents",
            backend="torch",
            target="inrbench_neomlp.field:NeoMLP",
            settings="inrbench_neomlp.settings:NeoMLPSettings",
            takes=("grid", "points"),
            source=SOURCE,
            citation=CITATION,
        )
    ]


@hookimpl
def inrbench_fitters() -> list[Plugin]:
    """Auto-decoding, of any field with latents."""
    return [
        Plugin(
            kind="fitter",
            api_version=1,
            name="auto-decoding",
            summary="a backbone learned with latents that are thrown away; a signal's own are descended afresh",
            backend="torch",
            target="inrbench_neomlp.auto_decoding:AutoDecoding",
            settings="inrbench_neomlp.fitter_settings:AutoDecodingSettings",
            takes=("grid", "points"),
            gives=("latent",),
            needs_inr=True,
            source=SOURCE,
            citation=CITATION,
        )
    ]


@hookimpl
def inrbench_methods() -> list[Method]:
    """A NeoMLP on a data set, or on a single clip."""
    return [
        Method(
            api_version=1,
            name="neomlp",
            summary="a backbone for a data set and latents for each signal, read by an MLP; all of a clip's is its own",
            inr="neomlp",
            fitter="auto-decoding",
            reader="mlp",
            settings=PAPER,
            for_dataset={**FOR_SET, **FOR_CLIP},
            profiles={"laptop": LAPTOP, "smoke": SMOKE},
            profiles_for_dataset={
                "laptop": {**LAPTOP_FOR_SET, **LAPTOP_FOR_CLIP},
                "smoke": SMOKE_FOR_CLIP,
            },
            source=SOURCE,
            citation=CITATION,
        )
    ]
