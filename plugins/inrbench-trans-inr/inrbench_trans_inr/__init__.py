"""Trans-INR: transformers as meta-learners for implicit neural representations (Chen and Wang, ECCV 2022)."""

from __future__ import annotations

from inrbench.plugin import Method, Plugin, hookimpl
from inrbench_trans_inr.recipes import FOR_DATASET, LAPTOP, LAPTOP_FOR_DATASET, PAPER, SMOKE, SMOKE_FOR_DATASET
from inrbench_trans_inr.recipes_views import VIEWS, VIEWS_FOR_DATASET, VIEWS_LAPTOP, VIEWS_SMOKE

__all__ = ["inrbench_analyses", "inrbench_fitters", "inrbench_methods"]

SOURCE = "Chen and Wang, Transformers as Meta-Learners for Implicit Neural Representations, arXiv 2208.02801"
CITATION = """@inproceedings{chen2022transinr,
  author    = {Chen, Yinbo and Wang, Xiaolong},
  title     = {Transformers as Meta-Learners for Implicit Neural Representations},
  booktitle = {ECCV},
  year      = {2022},
  note      = {arXiv 2208.02801}
}"""


@hookimpl
def inrbench_fitters() -> list[Plugin]:
    """The hypernetwork for images, and that for views."""
    return [
        Plugin(
            kind="fitter",
            api_version=1,
            name="trans-inr",
            summary="a transformer that generates a field's weights from an image's patches in one forward pass",
            backend="torch",
            target="inrbench_trans_inr.trans_inr:TransINR",
            settings="inrbench_trans_inr.settings:TransINRSettings",
            takes=("grid",),
            gives=("tokens", "weights"),
            needs_inr=True,
            source=SOURCE,
            citation=CITATION,
        ),
        Plugin(
            kind="fitter",
            api_version=1,
            name="trans-inr-nvs",
            summary="a transformer that generates a radiance field's weights from an object's posed views",
            backend="torch",
            target="inrbench_trans_inr.view_synthesis:TransINRViews",
            settings="inrbench_trans_inr.settings_views:TransINRViewsSettings",
            takes=("rays",),
            gives=("tokens", "weights"),
            needs_inr=True,
            source=SOURCE,
            citation=CITATION,
        ),
    ]


@hookimpl
def inrbench_analyses() -> list[Plugin]:
    """What weight tokens look at."""
    return [
        Plugin(
            kind="analysis",
            api_version=1,
            name="attention-masks",
            summary="where in the image weight tokens of Trans-INR look, by head (figure 7)",
            backend="torch",
            target="inrbench_trans_inr.attention_masks:AttentionMasks",
            settings="inrbench_trans_inr.settings:AttentionMasksSettings",
            takes=("tokens", "weights"),
            source=SOURCE,
            citation=CITATION,
        )
    ]


@hookimpl
def inrbench_methods() -> list[Method]:
    """trans-inr and trans-inr-nvs."""
    return [
        Method(
            api_version=1,
            name="trans-inr",
            summary="a field's weights from one forward pass of a transformer over an image; reconstruction only",
            inr="relu-fourier",
            fitter="trans-inr",
            settings=PAPER,
            for_dataset=FOR_DATASET,
            profiles={"laptop": LAPTOP, "smoke": SMOKE},
            profiles_for_dataset={"laptop": LAPTOP_FOR_DATASET, "smoke": SMOKE_FOR_DATASET},
            source=SOURCE,
            citation=CITATION,
        ),
        Method(
            api_version=1,
            name="trans-inr-nvs",
            summary="a radiance field's weights from one forward pass over one or two views of an object",
            inr="nerf",
            fitter="trans-inr-nvs",
            settings=VIEWS,
            for_dataset=VIEWS_FOR_DATASET,
            profiles={"laptop": VIEWS_LAPTOP, "smoke": VIEWS_SMOKE},
            source=SOURCE,
            citation=CITATION,
        ),
    ]
