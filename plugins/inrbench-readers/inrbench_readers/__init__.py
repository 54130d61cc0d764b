"""Readers that no single method owns, and the controls that every table can hold."""

from __future__ import annotations

from inrbench.plugin import Method, Plugin, hookimpl

__all__ = ["inrbench_fitters", "inrbench_methods", "inrbench_readers"]

TRAINING = {"epochs": 10.0, "batch_size": 16, "weight_decay": 1e-2, "clip_norm": 1.0, "schedule": "one-cycle"}
#: Widths at which the MLP has about as many parameters as the reader of `mwt` on that data set and at that profile.
PAPER_WIDTHS = {"digits": 1000, "mnist": 690, "fashion-mnist": 690, "cifar10": 318}
LAPTOP_WIDTHS = {"mnist": 128, "fashion-mnist": 128}
CIFAR10 = {"reader": {"width": 38}, "data": {"train_size": 5500}}
DIGITS = {
    "reader": {"width": 120, "train": {"epochs": 4.0, "batch_size": 16}},
    "data": {"train_size": None, "test_size": None},
}

NFN_SOURCE = "Zhou et al., Permutation Equivariant Neural Functionals, arXiv 2302.14040"
NFN_CITATION = """@inproceedings{zhou2023permutation,
  author    = {Zhou, Allan and Yang, Kaien and Burns, Kaylee and Cardace, Adriano and Jiang, Yiding and Sokota, Samuel
               and Kolter, J. Zico and Finn, Chelsea},
  title     = {Permutation Equivariant Neural Functionals},
  booktitle = {NeurIPS},
  year      = {2023},
  note      = {arXiv 2302.14040}
}"""

FUNCTA_CITATION = """@inproceedings{dupont2022data,
  author    = {Dupont, Emilien and Kim, Hyunjik and Eslami, S. M. Ali and Rezende, Danilo Jimenez and Rosenbaum, Dan},
  title     = {From data to functa: Your data point is a function and you can treat it like one},
  booktitle = {ICML},
  year      = {2022},
  note      = {arXiv 2201.12204}
}"""
SPATIAL_FUNCTA_CITATION = """@misc{bauer2023spatial,
  author = {Bauer, Matthias and Dupont, Emilien and Brock, Andy and Rosenbaum, Dan and Schwarz, Jonathan Richard
            and Kim, Hyunjik},
  title  = {Spatial Functa: Scaling Functa to {ImageNet} Classification and Generation},
  year   = {2023},
  note   = {arXiv 2302.03130}
}"""


@hookimpl
def inrbench_readers() -> list[Plugin]:
    """MLPs, a transformer of latents, probes, and the neural functional networks."""
    return [
        Plugin(
            kind="reader",
            api_version=1,
            name="mlp",
            summary="a multilayer perceptron on all values of a representation, standardised",
            backend="torch",
            target="inrbench_readers.mlp:MLPReader",
            settings="inrbench_readers.settings:MLPSettings",
            takes=("*",),
            gives=("classes",),
            joint=True,
        ),
        Plugin(
            kind="reader",
            api_version=1,
            name="latent-mlp",
            summary="functa's classifier: a multilayer perceptron with residual connections",
            backend="torch",
            target="inrbench_readers.latent_mlp:LatentMLPReader",
            settings="inrbench_readers.settings:LatentMLPSettings",
            takes=("latent", "latent-grid", "weights", "samples"),
            gives=("classes",),
            joint=True,
            source="Dupont et al., From data to functa, arXiv 2201.12204",
            citation=FUNCTA_CITATION,
        ),
        Plugin(
            kind="reader",
            api_version=1,
            name="latent-transformer",
            summary="spatial functa's classifier: a transformer of a grid's cells, of a latent's parts, or of patches",
            backend="torch",
            target="inrbench_readers.latent_transformer:LatentTransformerReader",
            settings="inrbench_readers.settings:LatentTransformerSettings",
            takes=("latent", "latent-grid", "samples"),
            gives=("classes",),
            joint=True,
            source="Bauer et al., Spatial Functa, arXiv 2302.03130",
            citation=SPATIAL_FUNCTA_CITATION,
        ),
        Plugin(
            kind="reader",
            api_version=1,
            name="linear-probe",
            summary="multinomial logistic regression on all values of a representation, standardised",
            target="inrbench_readers.linear_probe:LinearProbe",
            settings="inrbench_readers.settings:LinearProbeSettings",
            takes=("*",),
            gives=("classes",),
            uses=("scipy",),
        ),
        Plugin(
            kind="reader",
            api_version=1,
            name="knn",
            summary="the k nearest training signals vote",
            target="inrbench_readers.knn:KNN",
            settings="inrbench_readers.settings:KNNSettings",
            takes=("*",),
            gives=("classes",),
        ),
        _nfn("nfn-np", "NPReader", "the neurons of all layers, inputs and outputs too, being interchangeable"),
        _nfn("nfn-hnp", "HNPReader", "the hidden neurons being interchangeable"),
    ]


@hookimpl
def inrbench_fitters() -> list[Plugin]:
    """The raw values themselves."""
    return [
        Plugin(
            kind="fitter",
            api_version=1,
            name="samples",
            summary="no representation at all: hands the signal's own values on, for controls",
            backend="numpy",
            target="inrbench_readers.samples:Samples",
            settings="inrbench_readers.settings:SamplesSettings",
            takes=("grid",),
            gives=("samples",),
        )
    ]


@hookimpl
def inrbench_methods() -> list[Method]:
    """The pixel control."""
    return [
        Method(
            api_version=1,
            name="pixels",
            summary="control: an MLP on the raw pixels; on digits, MNIST and CIFAR-10 about as large as MWT's reader",
            fitter="samples",
            reader="mlp",
            settings={"reader": {"width": 512, "depth": 3, "train": TRAINING}},
            for_dataset=_widths(PAPER_WIDTHS),
            profiles={
                "laptop": {
                    "reader": {"width": 128, "train": {"epochs": 1.0, "batch_size": 4}},
                    "data": {"train_size": 7000, "test_size": 1000},
                },
                "smoke": {
                    "reader": {"width": 32, "train": {"steps": 20}},
                    "data": {"train_size": 64, "test_size": 32},
                },
            },
            profiles_for_dataset={"laptop": {**_widths(LAPTOP_WIDTHS), "cifar10": CIFAR10, "digits": DIGITS}},
        )
    ]


def _widths(widths: dict[str, int]) -> dict[str, dict[str, object]]:
    return {dataset: {"reader": {"width": width}} for dataset, width in widths.items()}


def _nfn(name: str, target: str, symmetry: str) -> Plugin:
    return Plugin(
        kind="reader",
        api_version=1,
        name=name,
        summary=f"a neural functional network on a field's weights, {symmetry}",
        backend="torch",
        target=f"inrbench_readers.nfn:{target}",
        settings="inrbench_readers.settings:NFNSettings",
        takes=("weights",),
        gives=("classes",),
        uses=("nfn",),
        joint=True,
        source=NFN_SOURCE,
        citation=NFN_CITATION,
    )
