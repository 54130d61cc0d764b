"""MWT: end-to-end meta-learned SIRENs read by a weight transformer (Gielisse and van Gemert, CVPR 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inrbench.plugin import Method, Plugin, hookimpl
from inrbench_mwt.recipes import FOR_DATASET, LAPTOP, LAPTOP_FOR_DATASET, PAPER, SMOKE, SMOKE_FOR_DATASET

__all__ = ["inrbench_fitters", "inrbench_methods", "inrbench_readers"]

SOURCE = "Gielisse and van Gemert, End-to-End Implicit Neural Representations for Classification, arXiv 2503.18123"
CITATION = """@inproceedings{gielisse2025mwt,
  author    = {Gielisse, Alexander and van Gemert, Jan},
  title     = {End-to-End Implicit Neural Representations for Classification},
  booktitle = {CVPR},
  year      = {2025},
  note      = {arXiv 2503.18123}
}"""


@hookimpl
def inrbench_fitters() -> list[Plugin]:
    """Meta-SGD on a field's weights."""
    return [
        Plugin(
            kind="fitter",
            api_version=1,
            name="meta-sgd",
            summary="k steps of gradient descent from a learned initialisation with a learned rate per parameter",
            backend="torch",
            target="inrbench_mwt.meta_sgd:MetaSGD",
            settings="inrbench_mwt.settings:MetaSGDSettings",
            takes=("grid", "points"),
            gives=("weights",),
            needs_inr=True,
            joint=True,
            source=SOURCE,
            citation=CITATION,
        )
    ]


@hookimpl
def inrbench_readers() -> list[Plugin]:
    """The weight transformer."""
    return [
        Plugin(
            kind="reader",
            api_version=1,
            name="weight-transformer",
            summary="a transformer whose tokens are the neurons of a field's hidden layers",
            backend="torch",
            target="inrbench_mwt.weight_transformer:WeightTransformerReader",
            settings="inrbench_mwt.settings:WeightTransformerSettings",
            takes=("weights",),
            gives=("classes",),
            joint=True,
            source=SOURCE,
            citation=CITATION,
        )
    ]


@hookimpl
def inrbench_methods() -> list[Method]:
    """mwt, mwt-l, wt and wt-two-stage."""

    def method(name: str, summary: str, **changes: object) -> Method:
        return Method(
            api_version=1,
            name=name,
            summary=summary,
            inr="siren",
            fitter="meta-sgd",
            reader="weight-transformer",
            settings={**PAPER, **changes},
            for_dataset=FOR_DATASET,
            profiles={"laptop": LAPTOP, "smoke": SMOKE},
            profiles_for_dataset={"laptop": LAPTOP_FOR_DATASET, "smoke": SMOKE_FOR_DATASET},
            source=SOURCE,
            citation=CITATION,
        )

    def wider(profiles: Mapping[str, Any]) -> dict[str, Any]:
        """The same with twice the width, wherever a width is set."""
        doubled = {key: wider(value) if isinstance(value, Mapping) else value for key, value in profiles.items()}
        return doubled | ({"width": 2 * profiles["width"]} if "width" in profiles else {})

    return [
        method("mwt", "SIREN, learning rates and weight transformer trained end to end; 1 % of the reader's gradient"),
        method("wt", "as mwt, without any of the reader's gradient in the field", joint={"share": 0.0}),
        method("wt-two-stage", "as wt, but the field is trained first and then the reader, on its fits", joint=None),
        replace(
            method("mwt-l", "mwt with twice the width (256), in every profile", inr={**PAPER["inr"], "width": 256}),
            profiles=wider({"laptop": LAPTOP, "smoke": SMOKE}),
            profiles_for_dataset=wider({"laptop": LAPTOP_FOR_DATASET, "smoke": SMOKE_FOR_DATASET}),
        ),
    ]
