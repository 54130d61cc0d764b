"""Generation: DDPM in the space of representations, and the networks that its samples are scored with."""

from __future__ import annotations

from inrbench.plugin import Plugin, hookimpl

__all__ = ["inrbench_readers"]

SOURCE = (
    "Ho et al., Denoising Diffusion Probabilistic Models, arXiv 2006.11239; on latents: Bauer et al., arXiv 2302.03130"
)
CITATION = """@inproceedings{ho2020denoising,
  author    = {Ho, Jonathan and Jain, Ajay and Abbeel, Pieter},
  title     = {Denoising Diffusion Probabilistic Models},
  booktitle = {NeurIPS},
  year      = {2020},
  note      = {arXiv 2006.11239}
}"""


@hookimpl
def inrbench_readers() -> list[Plugin]:
    """DDPM; a small classifier of pixels; Inception-v3."""
    return [
        Plugin(
            kind="reader",
            api_version=1,
            name="ddpm",
            summary="generates latents by denoising diffusion; see `inrbench generate`",
            backend="torch",
            target="inrbench_ddpm.ddpm:DDPM",
            settings="inrbench_ddpm.settings:DDPMSettings",
            takes=("latent", "latent-grid"),
            gives=("representations",),
            source=SOURCE,
            citation=CITATION,
        ),
        Plugin(
            kind="reader",
            api_version=1,
            name="cnn",
            summary="a small convolutional classifier of pixels; samples are scored with its last hidden layer",
            backend="torch",
            target="inrbench_ddpm.cnn:CNNReader",
            settings="inrbench_ddpm.settings:CNNSettings",
            takes=("samples",),
            gives=("classes",),
        ),
        Plugin(
            kind="reader",
            api_version=1,
            name="inception",
            summary="Inception-v3 with weights from a file, for FID; see `inrbench generate --extractor`",
            backend="torch",
            target="inrbench_ddpm.inception:Inception",
            settings="inrbench_ddpm.settings:InceptionSettings",
            takes=("samples",),
            gives=("features",),
            source="Szegedy et al., arXiv 1512.00567; FID: Heusel et al., arXiv 1706.08500",
        ),
    ]
