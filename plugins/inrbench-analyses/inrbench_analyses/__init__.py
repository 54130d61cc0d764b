"""Analyses of neural data sets: what their values carry, and what they do to the signal."""

from __future__ import annotations

from inrbench.plugin import Plugin, hookimpl

__all__ = ["inrbench_analyses"]

SOURCE = "Bauer et al., Spatial Functa, arXiv 2302.03130"
CITATION = """@article{bauer2023spatial,
  author  = {Bauer, Matthias and Dupont, Emilien and Brock, Andy and Rosenbaum, Dan and Schwarz, Jonathan Richard
             and Kim, Hyunjik},
  title   = {Spatial Functa: Scaling Functa to {ImageNet} Classification and Generation},
  journal = {arXiv preprint arXiv:2302.03130},
  year    = {2023}
}"""


@hookimpl
def inrbench_analyses() -> list[Plugin]:
    """Quantisation, perturbation and statistics of latents."""
    return [
        _analysis(
            "quantisation",
            "Quantisation",
            "PSNR against the bits of a value: uniform bins over the training signals' range (figure 11)",
            ("*",),
        ),
        _analysis(
            "perturbation",
            "Perturbation",
            "what moving one latent dimension, or one channel in every cell, does to the signal (figures 4, 12, 13)",
            ("latent", "latent-grid"),
        ),
        _analysis(
            "latent-statistics",
            "Statistics",
            "mean and spread per channel, explained variance and norms of the training signals (figure 8)",
            ("*",),
        ),
    ]


def _analysis(name: str, target: str, summary: str, takes: tuple[str, ...]) -> Plugin:
    module = name.rpartition("-")[2]
    return Plugin(
        kind="analysis",
        api_version=1,
        name=name,
        summary=summary,
        target=f"inrbench_analyses.{module}:{target}",
        settings=f"inrbench_analyses.settings:{target}Settings",
        takes=takes,
        source=SOURCE,
        citation=CITATION,
    )
