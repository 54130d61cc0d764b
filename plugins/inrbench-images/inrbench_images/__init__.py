"""Image data sets. This module holds their records alone; what reads the images is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterable

from inrbench.plugin import Plugin, hookimpl
from inrbench_images import citations

__all__ = ["inrbench_datasets"]


def _record(
    name: str, module: str, stem: str, summary: str, source: str, *, uses: tuple[str, ...] = (), scheme: bool = False
) -> Plugin:
    return Plugin(
        kind="dataset",
        api_version=1,
        name=name,
        summary=summary,
        target=f"inrbench_images.{module}:{stem}",
        settings=f"inrbench_images.{module}:{stem}Settings",
        gives=("grid",),
        uses=uses,
        scheme=scheme,
        source=source,
        citation=citations.CITATIONS.get(name, ""),
    )


@hookimpl
def inrbench_datasets() -> Iterable[Plugin]:
    """List the image data sets of this package."""
    uci = "UCI Machine Learning Repository, doi:10.24432/C50P49"
    tiny = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
    return [
        _record("digits", "digits", "Digits", "1,797 handwritten digits, 8 x 8, no download", uci),
        _record("mnist", "mnist", "Mnist", "70,000 handwritten digits, 28 x 28", "Proc. IEEE 86(11), 1998"),
        _record("fashion-mnist", "mnist", "FashionMnist", "70,000 articles of clothing, 28 x 28", "arXiv:1708.07747"),
        _record("cifar10", "cifar", "Cifar10", "60,000 colour images of 10 classes, 32 x 32", tiny),
        _record("cifar100", "cifar", "Cifar100", "60,000 colour images of 100 classes, 32 x 32", tiny),
        _record(
            "imagenette",
            "imagenette",
            "Imagenette",
            "13,394 photographs of 10 easy ImageNet classes, resized",
            "https://github.com/fastai/imagenette",
            uses=("pillow",),
        ),
        _record(
            "imagenet",
            "imagenet",
            "Imagenet",
            "1,331,167 photographs of 1,000 classes (ILSVRC 2012), resized; to be fetched by hand",
            "IJCV 115(3), 2015; arXiv:1409.0575",
            uses=("pillow",),
        ),
        _record(
            "celeba",
            "celeba",
            "Celeba",
            "182,732 aligned faces without classes, 178 x 178; to be fetched by hand",
            "arXiv:1411.7766",
            uses=("pillow",),
        ),
        _record(
            "celeba-hq",
            "celeba_hq",
            "CelebaHq",
            "30,000 faces without classes, 64 x 64; to be fetched by hand",
            "arXiv:1710.10196; arXiv:1907.11922",
            uses=("pillow",),
        ),
        _record("folder", "folder", "Folder", "your own images, a folder per class", "", uses=("pillow",), scheme=True),
    ]
