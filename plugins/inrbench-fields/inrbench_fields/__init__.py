"""Fields that no single method owns, plain gradient descent on them, and the methods that are no more than that."""

from __future__ import annotations

from dataclasses import replace

from inrbench.plugin import Method, Plugin, hookimpl
from inrbench_fields.recipes import (
    CLIPS,
    LAPTOP_CLIPS,
    LAPTOP_SHAPES,
    RFFNET_CLIPS,
    RFFNET_LAPTOP_CLIPS,
    SMOKE_CLIPS,
    SMOKE_SHAPES,
    SPDER_LAPTOP_CLIPS,
)

__all__ = ["inrbench_fitters", "inrbench_inrs", "inrbench_methods"]

SIREN_SOURCE = "Sitzmann et al., Implicit Neural Representations with Periodic Activation Functions, arXiv 2006.09661"
SIREN_CITATION = """@inproceedings{sitzmann2020siren,
  author    = {Sitzmann, Vincent and Martel, Julien N. P. and Bergman, Alexander W. and Lindell, David B. and
               Wetzstein, Gordon},
  title     = {Implicit Neural Representations with Periodic Activation Functions},
  booktitle = {NeurIPS},
  year      = {2020}
}"""
FOURIER_SOURCE = "Tancik et al., Fourier Features Let Networks Learn High Frequency Functions, arXiv 2006.10739"
FOURIER_CITATION = """@inproceedings{tancik2020fourier,
  author    = {Tancik, Matthew and Srinivasan, Pratul P. and Mildenhall, Ben and Fridovich-Keil, Sara and
               Raghavan, Nithin and Singhal, Utkarsh and Ramamoorthi, Ravi and Barron, Jonathan T. and Ng, Ren},
  title     = {Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains},
  booktitle = {NeurIPS},
  year      = {2020}
}"""
SPDER_SOURCE = "Shah and Sitawarin, SPDER: Semiperiodic Damping-Enabled Object Representation, arXiv 2306.15242"
SPDER_CITATION = """@inproceedings{shah2024spder,
  author    = {Shah, Kathan and Sitawarin, Chawin},
  title     = {{SPDER}: Semiperiodic Damping-Enabled Object Representation},
  booktitle = {ICLR},
  year      = {2024}
}"""
NERF_SOURCE = "Mildenhall et al., NeRF: Scenes as Neural Radiance Fields for View Synthesis, arXiv 2003.08934"
NERF_CITATION = """@inproceedings{mildenhall2020nerf,
  author    = {Mildenhall, Ben and Srinivasan, Pratul P. and Tancik, Matthew and Barron, Jonathan T. and
               Ramamoorthi, Ravi and Ng, Ren},
  title     = {NeRF: Representing Scenes as Neural Radiance Fields for View Synthesis},
  booktitle = {ECCV},
  year      = {2020}
}"""


@hookimpl
def inrbench_inrs() -> list[Plugin]:
    """SIREN in PyTorch and in Equinox, SPDER; ReLU layers behind Fourier features, fixed or random; NeRF."""
    torch = Plugin(
        kind="inr",
        api_version=1,
        name="siren",
        summary="sine layers; ω, initialisation, coordinates and output range are settings",
        backend="torch",
        target="inrbench_fields.siren:Siren",
        settings="inrbench_fields.settings:SirenSettings",
        takes=("grid", "points"),
        source=SIREN_SOURCE,
        citation=SIREN_CITATION,
    )
    fourier = Plugin(
        kind="inr",
        api_version=1,
        name="relu-fourier",
        summary="ReLU layers behind Fourier features of the coordinates, at fixed frequencies",
        backend="torch",
        target="inrbench_fields.relu_fourier:ReluFourier",
        settings="inrbench_fields.settings:ReluFourierSettings",
        takes=("grid", "points"),
        source=FOURIER_SOURCE,
        citation=FOURIER_CITATION,
    )
    spder = Plugin(
        kind="inr",
        api_version=1,
        name="spder",
        summary="sine layers, each sine of x multiplied by √|x|; initialised as a SIREN",
        backend="torch",
        target="inrbench_fields.spder:Spder",
        settings="inrbench_fields.settings:SpderSettings",
        takes=("grid", "points"),
        source=SPDER_SOURCE,
        citation=SPDER_CITATION,
    )
    rffnet = Plugin(
        kind="inr",
        api_version=1,
        name="rffnet",
        summary="ReLU layers behind random Fourier features of the coordinates, which are not learned",
        backend="torch",
        target="inrbench_fields.rffnet:RffNet",
        settings="inrbench_fields.settings:RffNetSettings",
        takes=("grid", "points"),
        source=FOURIER_SOURCE,
        citation=FOURIER_CITATION,
    )
    nerf = Plugin(
        kind="inr",
        api_version=1,
        name="nerf",
        summary="colour and density in space, seen along rays; ReLU layers behind Fourier features, no view direction",
        backend="torch",
        target="inrbench_fields.nerf:Nerf",
        settings="inrbench_fields.settings:NerfSettings",
        takes=("rays",),
        source=NERF_SOURCE,
        citation=NERF_CITATION,
    )
    jax = replace(torch, backend="jax", target="inrbench_fields.siren_jax:Siren")
    return [torch, jax, spder, fourier, rffnet, nerf]


@hookimpl
def inrbench_fitters() -> list[Plugin]:
    """Plain gradient descent in PyTorch and in JAX."""
    torch = Plugin(
        kind="fitter",
        api_version=1,
        name="gradient-descent",
        summary="every signal fitted on its own, from a random initialisation, by Adam or SGD",
        backend="torch",
        target="inrbench_fields.gradient_descent:GradientDescent",
        settings="inrbench_fields.settings:GradientDescentSettings",
        takes=("grid", "points", "rays"),
        gives=("weights",),
        needs_inr=True,
    )
    jax = replace(
        torch, backend="jax", target="inrbench_fields.gradient_descent_jax:GradientDescent", takes=("grid", "points")
    )
    return [torch, jax]


@hookimpl
def inrbench_methods() -> list[Method]:
    """A SIREN, a SPDER or an RFFNet fitted to each signal; a NeRF fitted to each scene."""
    siren = Method(
        api_version=1,
        name="siren",
        summary="one SIREN a signal, fitted by plain gradient descent; reconstruction only",
        inr="siren",
        fitter="gradient-descent",
        settings={
            "inr": {"width": 256, "depth": 3, "omega_0": 30.0, "omega_hidden": 30.0},
            "fitter": {"steps": 1000, "lr": 1e-4},
        },
        for_dataset=CLIPS,
        profiles={
            "laptop": {
                "inr": {"width": 64},
                "fitter": {"steps": 300, "lr": 1e-3},
                "data": {"test_size": 100},
            },
            "smoke": {
                "inr": {"width": 16, "depth": 1},
                "fitter": {"steps": 20, "lr": 1e-3},
                "data": {"test_size": 8},
            },
        },
        profiles_for_dataset={"laptop": {**LAPTOP_CLIPS, **LAPTOP_SHAPES}, "smoke": {**SMOKE_CLIPS, **SMOKE_SHAPES}},
        source=SIREN_SOURCE,
        citation=SIREN_CITATION,
    )
    spder = replace(
        siren,
        name="spder",
        summary="one SPDER a signal, fitted by plain gradient descent; reconstruction only",
        inr="spder",
        profiles_for_dataset={
            "laptop": {**SPDER_LAPTOP_CLIPS, **LAPTOP_SHAPES},
            "smoke": {**SMOKE_CLIPS, **SMOKE_SHAPES},
        },
        source=SPDER_SOURCE,
        citation=SPDER_CITATION,
    )
    rffnet = replace(
        siren,
        name="rffnet",
        summary="one RFFNet a signal, fitted by plain gradient descent; reconstruction only",
        inr="rffnet",
        settings={"inr": {"width": 256, "depth": 3, "sigma": 20.0}, "fitter": {"steps": 1000, "lr": 1e-4}},
        for_dataset=RFFNET_CLIPS,
        profiles_for_dataset={
            "laptop": {**RFFNET_LAPTOP_CLIPS, **LAPTOP_SHAPES},
            "smoke": {**SMOKE_CLIPS, **SMOKE_SHAPES},
        },
        source=FOURIER_SOURCE,
        citation=FOURIER_CITATION,
    )
    return [
        siren,
        spder,
        rffnet,
        Method(
            api_version=1,
            name="nerf",
            summary="one NeRF a scene, fitted to its views by plain gradient descent; held-out views are scored",
            inr="nerf",
            fitter="gradient-descent",
            settings={
                "inr": {"width": 256, "depth": 4, "samples": 128, "density_bias": 0.5},
                "fitter": {
                    "steps": 200_000,
                    "batch_points": 4096,
                    "lr": 5e-4,
                    "schedule": "exponential",
                    "foreground_steps": 500,
                },
            },
            profiles={
                "laptop": {
                    "inr": {"width": 128, "samples": 64},
                    "fitter": {
                        "steps": 2500,
                        "batch_points": 512,
                        "lr": 5e-3,
                        "schedule": "cosine",
                        "foreground_steps": 100,
                    },
                },
                "smoke": {
                    "inr": {"width": 16, "depth": 1, "samples": 16},
                    "fitter": {"steps": 20, "batch_points": 64, "lr": 5e-3, "foreground_steps": 10},
                },
            },
            source=NERF_SOURCE,
            citation=NERF_CITATION,
        ),
    ]
