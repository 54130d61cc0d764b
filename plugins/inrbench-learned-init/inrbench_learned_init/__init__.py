"""Learned Init: learned initialisations for coordinate-based networks (Tancik et al., CVPR 2021), and its controls."""

from __future__ import annotations

from inrbench.plugin import Method, Plugin, hookimpl
from inrbench_learned_init.recipes import (
    FOR_DATASET,
    LAPTOP,
    LAPTOP_FOR_DATASET,
    PAPER,
    SMOKE,
    SMOKE_FOR_DATASET,
)

__all__ = ["inrbench_fitters", "inrbench_methods"]

SOURCE = (
    "Tancik et al., Learned Initializations for Optimizing Coordinate-Based Neural Representations, arXiv 2012.02189"
)
CITATION = """@inproceedings{tancik2021learned,
  author    = {Tancik, Matthew and Mildenhall, Ben and Wang, Terrance and Schmidt, Divi and Srinivasan, Pratul P. and
               Barron, Jonathan T. and Ng, Ren},
  title     = {Learned Initializations for Optimizing Coordinate-Based Neural Representations},
  booktitle = {CVPR},
  year      = {2021}
}"""


@hookimpl
def inrbench_fitters() -> list[Plugin]:
    """MAML for values, Reptile for views."""
    return [
        Plugin(
            kind="fitter",
            api_version=1,
            name="maml",
            summary="k steps of SGD from an initialisation learned by MAML, or from a control of it",
            backend="torch",
            target="inrbench_learned_init.maml:Maml",
            settings="inrbench_learned_init.settings:MamlSettings",
            takes=("grid", "points"),
            gives=("weights",),
            needs_inr=True,
            source=SOURCE,
            citation=CITATION,
        ),
        Plugin(
            kind="fitter",
            api_version=1,
            name="reptile",
            summary="many steps of SGD on rays, from an initialisation learned by Reptile, or from a control of it",
            backend="torch",
            target="inrbench_learned_init.reptile:Reptile",
            settings="inrbench_learned_init.settings:ReptileSettings",
            takes=("rays",),
            gives=("weights",),
            needs_inr=True,
            source=SOURCE,
            citation=CITATION,
        ),
    ]


@hookimpl
def inrbench_methods() -> list[Method]:
    """learned-init, for images and for views."""
    return [
        Method(
            api_version=1,
            name="learned-init",
            summary="a field's initialisation learned by MAML (images) or Reptile (views); SGD from there",
            inr="siren",
            fitter="maml",
            settings=PAPER,
            for_dataset=FOR_DATASET,
            profiles={"laptop": LAPTOP, "smoke": SMOKE},
            profiles_for_dataset={"laptop": LAPTOP_FOR_DATASET, "smoke": SMOKE_FOR_DATASET},
            source=SOURCE,
            citation=CITATION,
        )
    ]
