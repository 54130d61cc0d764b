"""functa and spatial functa: meta-learned SIRENs that a latent modulates (Dupont et al., 2022; Bauer et al., 2023)."""

from __future__ import annotations

from inrbench.plugin import Method, Plugin, hookimpl
from inrbench_functa.recipes import (
    FUNCTA,
    FUNCTA_FOR_DATASET,
    FUNCTA_LAPTOP,
    FUNCTA_LAPTOP_FOR_DATASET,
    FUNCTA_SMOKE,
    FUNCTA_SMOKE_FOR_DATASET,
    SPATIAL,
    SPATIAL_FOR_DATASET,
    SPATIAL_LAPTOP,
    SPATIAL_LAPTOP_FOR_DATASET,
    SPATIAL_SMOKE,
    SPATIAL_SMOKE_FOR_DATASET,
)

__all__ = ["inrbench_fitters", "inrbench_inrs", "inrbench_methods"]

SOURCE = "Dupont et al., From data to functa, arXiv 2201.12204"
CITATION = """@inproceedings{dupont2022functa,
  author    = {Dupont, Emilien and Kim, Hyunjik and Eslami, S. M. Ali and Rezende, Danilo and Rosenbaum, Dan},
  title     = {From data to functa: Your data point is a function and you can treat it like one},
  booktitle = {ICML},
  year      = {2022},
  note      = {arXiv 2201.12204}
}"""
SPATIAL_SOURCE = (
    "Bauer et al., Spatial Functa: Scaling Functa to ImageNet Classification and Generation, arXiv 2302.03130"
)
SPATIAL_CITATION = """@misc{bauer2023spatial,
  author = {Bauer, Matthias and Dupont, Emilien and Brock, Andy and Rosenbaum, Dan and Schwarz, Jonathan Richard and
            Kim, Hyunjik},
  title  = {Spatial Functa: Scaling Functa to ImageNet Classification and Generation},
  year   = {2023},
  note   = {arXiv 2302.03130}
}"""


@hookimpl
def inrbench_inrs() -> list[Plugin]:
    """The modulated SIREN."""
    return [
        Plugin(
            kind="inr",
            api_version=1,
            name="modulated-siren",
            summary="a SIREN whose layers are shifted by linear maps of a latent: one vector, or one for each cell",
            backend="jax",
            target="inrbench_functa.siren:ModulatedSiren",
            settings="inrbench_functa.settings:ModulatedSirenSettings",
            takes=("grid", "points"),
            source=SOURCE,
            citation=CITATION,
        )
    ]


@hookimpl
def inrbench_fitters() -> list[Plugin]:
    """Meta-SGD on a latent."""
    return [
        Plugin(
            kind="fitter",
            api_version=1,
            name="latent-meta-sgd",
            summary="a few steps of gradient descent on a latent alone, from 0, with a learned rate for each value",
            backend="jax",
            target="inrbench_functa.latent_meta_sgd:LatentMetaSGD",
            settings="inrbench_functa.settings:LatentMetaSGDSettings",
            takes=("grid", "points"),
            gives=("latent", "latent-grid"),
            needs_inr=True,
            uses=("scipy",),
            source=SOURCE,
            citation=CITATION,
        )
    ]


@hookimpl
def inrbench_methods() -> list[Method]:
    """The methods functa and spatial-functa."""
    return [
        Method(
            api_version=1,
            name="functa",
            summary="one latent vector modulates a shared SIREN; three learned gradient steps fit it; then a reader",
            inr="modulated-siren",
            fitter="latent-meta-sgd",
            reader="latent-mlp",
            settings=FUNCTA,
            for_dataset=FUNCTA_FOR_DATASET,
            profiles={"laptop": FUNCTA_LAPTOP, "smoke": FUNCTA_SMOKE},
            profiles_for_dataset={"laptop": FUNCTA_LAPTOP_FOR_DATASET, "smoke": FUNCTA_SMOKE_FOR_DATASET},
            source=SOURCE,
            citation=CITATION,
        ),
        Method(
            api_version=1,
            name="spatial-functa",
            summary="as functa, with a latent for each cell of the image, read by a transformer over the cells",
            inr="modulated-siren",
            fitter="latent-meta-sgd",
            reader="latent-transformer",
            settings=SPATIAL,
            for_dataset=SPATIAL_FOR_DATASET,
            profiles={"laptop": SPATIAL_LAPTOP, "smoke": SPATIAL_SMOKE},
            profiles_for_dataset={"laptop": SPATIAL_LAPTOP_FOR_DATASET, "smoke": SPATIAL_SMOKE_FOR_DATASET},
            source=SPATIAL_SOURCE,
            citation=SPATIAL_CITATION,
        ),
    ]
