"""What can be done with a checkout: `nox -l` lists it. Every session makes its own environment from constraints.txt."""

import re
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
TESTING = ["pytest", "pytest-timeout", "hypothesis", "jaxtyping", "beartype"]


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
    session.run("pytest", "-m", "not cells", *session.posargs)


@nox.session
def cells(session: nox.Session) -> None:
    """The slow tests: whole cells at the `smoke` profile, packages built and installed into empty environments."""
    install(session, *TESTING)
    session.run("pytest", "-m", "cells", *session.posargs)


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
    session.run("pytest", "-m", "not cells", *session.posargs)


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
    """mwt against wt: the cells of leaderboards/mwt-above-wt-tuning.yaml and mwt-above-wt.yaml without a record."""
    install(session)
    for name in ("mwt-above-wt-tuning", "mwt-above-wt"):
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
