"""Fields that no single method owns, plain gradient descent on them, and the methods `siren` and `nerf`."""

from __future__ import annotations

from dataclasses import replace

from inrbench.plugin import Method, Plugin, hookimpl

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
    """SIREN in PyTorch and in Equinox; ReLU layers behind Fourier features, for values and for views."""
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
    return [torch, replace(torch, backend="jax", target="inrbench_fields.siren_jax:Siren"), fourier, nerf]


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
    """A SIREN fitted to each signal; a NeRF fitted to each scene."""
    return [
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
        Method(
            api_version=1,
            name="siren",
            summary="one SIREN a signal, fitted by plain gradient descent; reconstruction only",
            inr="siren",
            fitter="gradient-descent",
            settings={
                "inr": {"width": 256, "depth": 3, "omega_0": 30.0, "omega_hidden": 30.0},
                "fitter": {"steps": 1000, "lr": 1e-4},
            },
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
            source=SIREN_SOURCE,
            citation=SIREN_CITATION,
        ),
    ]
