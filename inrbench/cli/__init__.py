"""The command line. Each command is a module, imported when it is called: ``--help`` loads click and little else."""

from __future__ import annotations

import click

from inrbench import __version__
from inrbench.cli.lazy import LazyGroup

__all__ = ["cli", "main"]

#: Command -> where it is, and its line in the help of the group (a test compares it with the command's own).
COMMANDS = {
    "run": ("inrbench.cli.run:run", "Run cells: methods on data sets."),
    "plan": ("inrbench.cli.plan:plan", "Show what a run would do: cells, time, memory, disk, downloads."),
    "why": ("inrbench.cli.why:why", "Say why cells are taken from their records, or are run: the parts that differ."),
    "status": ("inrbench.cli.status:status", "Show what runs over a folder of records, here and elsewhere."),
    "stop": ("inrbench.cli.stop:stop", "Stop what runs over a folder of records; checkpoints are kept."),
    "schema": ("inrbench.cli.schema:schema", "Print the JSON Schema of sweep files."),
    "fit": ("inrbench.cli.fit:fit", "Fit a method to a data set and keep the representations: a neural data set."),
    "read": ("inrbench.cli.read:read", "Train readers on neural data sets and score them."),
    "query": (
        "inrbench.cli.query:query",
        "Query the fields of a neural data set: their values as samples, for controls.",
    ),
    "export": ("inrbench.cli.transfer:export", "Write a neural data set as HDF5 of fit-a-nef and neural-field-arena."),
    "import": ("inrbench.cli.transfer:import_", "Make a neural data set from HDF5 of fit-a-nef or neural-field-arena."),
    "list": ("inrbench.cli.listing:list_", "List what is installed: methods, data sets, readers, ..."),
    "show": ("inrbench.cli.show:show", "Show a method, a data set, or the settings of both together."),
    "results": ("inrbench.cli.results:results", "Show the records of cells, one row a cell."),
    "merge": ("inrbench.cli.merge:merge", "Merge folders of records into one."),
    "compare": ("inrbench.cli.compare:compare", "Compare two folders of records, cell by cell."),
    "leaderboard": ("inrbench.cli.leaderboard:leaderboard", "Print tables of records, with intervals and ranks."),
    "plot": ("inrbench.cli.plot:plot", "Draw how metrics depend on a setting, or how fits came closer, as a PNG."),
    "render": ("inrbench.cli.render:render", "Write reconstructions beside originals: PNG, WAV, MP4."),
    "analyse": ("inrbench.cli.analyse:analyse", "Analyse a neural data set: a table and pictures."),
    "generate": ("inrbench.cli.generate:generate", "Train a generator on a neural data set, and draw from it."),
    "verify": ("inrbench.cli.verify:verify", "Compute a record's metrics once more from what is stored."),
    "gc": ("inrbench.cli.gc:gc", "Show what the cache takes of the disk, and free some."),
    "data": ("inrbench.cli.data:data", "List, download and check data sets."),
    "cite": ("inrbench.cli.cite:cite", "Print BibTeX for methods and data sets."),
    "doctor": ("inrbench.cli.doctor:doctor", "Check this installation: versions, devices, plugins, folders."),
    "completion": ("inrbench.cli.completion:completion", "Print the script for completion in your shell."),
}


@click.group(
    "inrbench",
    cls=LazyGroup,
    commands_at=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="inrbench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Compare methods that turn signals into implicit neural representations and then work on those.

    \b
      inrbench list                                what there is
      inrbench run mwt+digits --profile laptop     a method on a data set: half a minute
      inrbench results                             what came out
      inrbench leaderboard                         the same as tables, with intervals

    `inrbench COMMAND --help` shows examples of each command.
    """  # noqa: D301
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """The console script; ends the process with the command's exit status."""
    cli.main(prog_name="inrbench")
