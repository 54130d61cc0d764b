"""What can be done with a checkout: `nox -l` lists it. Every session makes its own environment from constraints.txt."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests", "lint", "types", "cells"]

ROOT = Path(__file__).parent
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
SOURCES = ["inrbench", *(str(next(folder.glob("inrbench_*")).relative_to(ROOT)) for folder in PLUGINS)]
TESTING = ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "jaxtyping", "beartype"]
#: A process for each core, one file of tests at a time in each.
PARALLEL = ("-n", "logical", "--maxprocesses", "8", "--dist", "loadfile")

#: Neural data sets of `digits` that `readers` makes, at profile laptop: weights of one shape, latents, pixels.
FITS = {
    "siren": ("siren+digits", "inr.width=32", "data.test_size=null"),
    "siren-shared": ("siren+digits", "inr.width=32", "data.test_size=null", "fitter.initialisation=shared"),
    "wt": ("wt+digits",),
    "functa": ("functa+digits",),
    "spatial-functa": ("spatial-functa+digits",),
    "pixels": ("pixels+digits",),
}
RENDERED = ("wt", "functa", "spatial-functa")
EACH = (*FITS, *(f"{name}-rendered" for name in RENDERED))
WEIGHTS = ("siren", "siren-shared", "wt")
TOKENS = tuple(name for name in EACH if name not in WEIGHTS)
SHORT = "reader.train={steps: 1000, batch_size: 64, schedule: cosine, ema: 0.99, weight_decay: 0.1, clip_norm: 1.0}"
JOINT = "reader.train={epochs: 4, batch_size: 16, schedule: one-cycle, weight_decay: 1.0e-4, clip_norm: 1.0}"
#: Readers, what each reads, and its settings, the same wherever it reads.
READERS: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
    ("linear-probe,knn", EACH, ()),
    ("mlp", EACH, ("reader.width=256", "reader.lr=1e-3", SHORT)),
    ("latent-mlp", EACH, ("reader.width=256", "reader.depth=2", "reader.lr=1e-3", SHORT)),
    (
        "latent-transformer",
        TOKENS,
        (
            *("reader.width=64", "reader.feedforward=128", "reader.blocks=2", "reader.heads=4", "reader.token_size=8"),
            *("reader.lr=2e-3", SHORT),
        ),
    ),
    ("weight-transformer", WEIGHTS, ("reader.blocks=3", "reader.lr=3e-3", JOINT)),
    ("nfn-np,nfn-hnp", WEIGHTS, ("reader.channels=16", "reader.lr=3e-3", JOINT)),
]
#: What `generation` changes, one setting at a time, with samples of one guidance.
GENERATED = {
    "scale": ("0.5", "2.0", "4.0"),
    "normalisation": ("scalar",),
    "time_step_ratio": ("1.0", "7.0"),
}


def install(session: nox.Session, *extra: str, constraints: str = "constraints.txt") -> None:
    """The core and every plugin of this checkout, with tested versions."""
    editable = [part for folder in PLUGINS for part in ("-e", str(folder))]
    session.install("-q", "-c", constraints, "-e", ".[torch,jax,hdf5,search,slurm]", *editable, *extra)


def table(session: nox.Session, name: str) -> None:
    """The tables of the records of leaderboards/NAME.yaml."""
    sweep = ("--records", f"leaderboards/{name}", "--sweep", f"leaderboards/{name}.yaml")
    session.run("inrbench", "leaderboard", *sweep, "-o", f"leaderboards/{name}.md")


@nox.session
def tests(session: nox.Session) -> None:
    """The fast tests: everything but whole cells."""
    install(session, *TESTING)
    session.run("pytest", *PARALLEL, "-m", "not cells", *session.posargs)


@nox.session
def cells(session: nox.Session) -> None:
    """The slow tests: whole cells at the `smoke` profile, packages built and installed into empty environments."""
    install(session, *TESTING)
    session.run("pytest", *PARALLEL, "-m", "cells", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: lint and format."""
    session.install("-q", "-c", "constraints.txt", "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, over the core and every plugin."""
    install(session, "mypy", "types-PyYAML", "types-tabulate", "types-psutil", "pandas-stubs", "nox", *TESTING)
    session.run("mypy", *SOURCES, "noxfile.py", "conftest.py")


@nox.session
def minimums(session: nox.Session) -> None:
    """The fast tests on the lowest versions that the packages declare, of all but torch."""
    lowest = {}
    for path in [ROOT / "pyproject.toml", *(folder / "pyproject.toml" for folder in PLUGINS)]:
        project = tomllib.loads(path.read_text())["project"]
        extras = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
        for requirement in [*project["dependencies"], *extras]:
            match = re.fullmatch(r"([A-Za-z0-9_-]+)(?:\[\w+\])?>=([0-9.]+)(?:,<.*)?", requirement)
            if match and not match[1].startswith("inrbench") and match[1] != "torch":
                lowest[match[1]] = match[2]
    tested = (ROOT / "constraints.txt").read_text().splitlines()
    wanted = {"torch", "beartype", "hatchling", "editables"}  # pytest follows pluggy, which is at its lowest here
    kept = [line for line in tested if line.partition("==")[0] in wanted]
    file = Path(session.create_tmp()) / "minimums.txt"
    file.write_text("\n".join([*kept, *(f"{name}=={version}" for name, version in sorted(lowest.items()))]) + "\n")
    install(session, *TESTING, constraints=str(file))
    session.run("pytest", *PARALLEL, "-m", "not cells", *session.posargs)


@nox.session
def leaderboard(session: nox.Session) -> None:
    """Run the cells of leaderboards/quick.yaml that have no record yet (all: -- --rerun) and render quick.md."""
    install(session)
    records = "leaderboards/quick"
    session.run("inrbench", "run", "leaderboards/quick.yaml", "--records", records, *session.posargs)
    if "--rerun" in session.posargs:  # a picture needs the representations, which records do not hold
        found = (ROOT / records).glob("mwt+digits-laptop-s0-????????.json")  # of earlier code too, where it was edited
        newest = max(found, key=lambda path: path.stat().st_mtime).stem
        for picture in (["leaderboards/quick.png"], ["leaderboards/quick-steps.png", "--steps"]):
            cell = (newest, "--records", records, "--size", "8x")
            session.run("inrbench", "render", *cell, "-o", *picture)
    table(session, "quick")


@nox.session
def claims(session: nox.Session) -> None:
    """mwt over wt, spatial functa over functa: the cells without a record (CIFAR-10: -- --data-root DIR)."""
    install(session)
    for name in ("mwt-above-wt-tuning", "mwt-above-wt", "spatial-above-functa-tuning", "spatial-above-functa"):
        records = f"leaderboards/{name}"
        session.run("inrbench", "run", f"{records}.yaml", "--records", records, *session.posargs)
        table(session, name)


@nox.session
def ablations(session: nox.Session) -> None:
    """MWT's ablations, small: the cells without a record, their tables and plots (MNIST: -- --data-root DIR)."""
    install(session)
    for name in ("mwt-ablations", "mwt-ablations-nfn", "mwt-trade-off-mnist"):
        session.run(
            "inrbench", "run", f"leaderboards/{name}.yaml", "--records", f"leaderboards/{name}", *session.posargs
        )
        table(session, name)
    for key, name in (("joint.share", "w-cls"), ("fitter.test_steps", "k-test"), ("fitter.subsample", "s")):
        picture = (*(["--log"] if name == "w-cls" else []), "-o", f"leaderboards/mwt-ablations-{name}.png")
        session.run("inrbench", "plot", "--records", "leaderboards/mwt-ablations", "--against", key, *picture)


@nox.session
def torture(session: nox.Session) -> None:
    """A sweep of 200 cells (or INRBENCH_TORTURE) that crash, hang, grow and are killed, while the disk fills."""
    install(session, *TESTING)
    cells = session.env.get("INRBENCH_TORTURE") or "200"
    session.run("pytest", "tests/execution/test_torture.py", *session.posargs, env={"INRBENCH_TORTURE": cells})


@nox.session
def slurm(session: nox.Session) -> None:
    """The quick leaderboard's sweep through a real Slurm: the numbers are those of the local executor (minutes)."""
    install(session, *TESTING)
    chosen = ("tests/execution/test_slurm.py", "-k", "same_numbers")
    session.run("pytest", *chosen, *session.posargs, env={"INRBENCH_TEST_SLURM_SWEEP": "whole"})


@nox.session
def readers(session: nox.Session) -> None:
    """Neural data sets of digits, one reader on all of them and all readers on one: readers without a record."""
    install(session)
    folder = Path(session.create_tmp()).resolve() / "readers"
    shutil.rmtree(folder, ignore_errors=True)
    for name, (what, *changed) in FITS.items():
        sets = [word for setting in changed for word in ("--set", setting)]
        session.run("inrbench", "fit", what, "--profile", "laptop", *sets, "-o", str(folder / name))
    for name in RENDERED:
        session.run("inrbench", "query", str(folder / name), "-o", str(folder / f"{name}-rendered"))
    for names, folders, settings in READERS:
        sets = [word for setting in settings for word in ("--set", setting)]
        where = [str(folder / name) for name in folders]
        session.run("inrbench", "read", names, *where, *sets, "--records", "leaderboards/readers", *session.posargs)
    session.run("inrbench", "leaderboard", "--records", "leaderboards/readers", "-o", "leaderboards/readers.md")


@nox.session
def generation(session: nox.Session) -> None:
    """Generation on latents of digits, and its ablations: records, tables, samples and plots."""
    install(session)
    folder = Path(session.create_tmp()).resolve() / "generation"
    shutil.rmtree(folder, ignore_errors=True)
    boards = ROOT / "leaderboards"

    def generate(name: str, out: str, *options: str) -> None:
        where = (str(folder / name), "-o", str(folder / out), "--records", "leaderboards/generation", "--seed", "1")
        session.run("inrbench", "generate", *where, *options, *session.posargs)

    for name, guidance in (("functa", "0,1,2,4,8"), ("spatial-functa", "0,1,2,4")):
        what = (f"{name}+digits", "--profile", "laptop", "--seed", "1")
        session.run("inrbench", "fit", *what, "-o", str(folder / name))
        generate(name, f"{name}-samples", "--guidance", guidance)
        shutil.copyfile(folder / f"{name}-samples" / "generation.md", boards / f"generated-{name}.md")
        shutil.copyfile(folder / f"{name}-samples" / "generation-guidance-1.png", boards / f"generated-{name}.png")
    for key, values in GENERATED.items():
        for value in values:
            generate("functa", f"{key}-{value}", "--set", f"reader.{key}={value}")
    for key in ("guidance", *GENERATED):
        picture = f"leaderboards/generation-{key.replace('_', '-')}.png"
        plot = ("--records", "leaderboards/generation", "--against", f"reader.{key}", "-o", picture)
        session.run("inrbench", "plot", *plot)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Speed, as ratios within one run: every file of benchmarks/."""
    install(session)
    for path in sorted(ROOT.glob("benchmarks/*.py")):
        session.run("python", str(path))


@nox.session
def wheels(session: nox.Session) -> None:
    """Build a wheel of the core and of each plugin into dist/, and install them all into an empty environment."""
    session.install("-q", "-c", "constraints.txt", "build", "hatchling")
    dist = ROOT / "dist"
    for old in dist.glob("*.whl"):
        old.unlink()
    for folder in [ROOT, *PLUGINS]:
        session.run("python", "-m", "build", "--wheel", "--no-isolation", "-o", str(dist), str(folder), silent=True)
    empty = Path(session.create_tmp()).resolve() / "empty"
    session.run(sys.executable, "-m", "venv", "--clear", str(empty), external=True)
    python = str(empty / "bin" / "python")
    built = [str(path) for path in sorted(dist.glob("*.whl"))]
    session.run(python, "-m", "pip", "install", "-q", "-c", "constraints.txt", *built, external=True)
    with session.chdir(empty):
        session.run(python, "-m", "inrbench", "doctor", external=True)
        session.run(python, "-m", "inrbench", "run", "mwt,siren,pixels+digits", "--profile", "smoke", external=True)
