"""``inrbench completion``: the script that a shell sources."""

from __future__ import annotations

import click

__all__ = ["completion"]

VARIABLE = "_INRBENCH_COMPLETE"


@click.command()
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script for completion in your shell.

    \b
      inrbench completion bash >> ~/.bashrc
      inrbench completion zsh >> ~/.zshrc
      inrbench completion fish > ~/.config/fish/completions/inrbench.fish

    It completes commands, METHOD+DATASET, profiles, the keys of --set and the cells that have a record.
    """  # noqa: D301
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    script = found(context.find_root().command, {}, "inrbench", VARIABLE)
    text = script.source_template % script.source_vars()
    if shell == "bash":  # `mwt+` and `fitter.steps=` go on; no blank behind them
        text = text.replace(
            "COMPREPLY+=($value)", 'COMPREPLY+=("$value"); [[ $value == *[=+:] ]] && compopt -o nospace'
        )
    click.echo(text)
