"""A group of commands that are imported when they are called, and that ends every error of a user in one line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

__all__ = ["LazyGroup", "say"]

#: The exit status of what Ctrl-C stopped.
STOPPED = 130


def say(line: str) -> None:
    """A line for the reader, on stderr."""
    click.echo(line, err=True)


class LazyGroup(click.Group):
    """Commands by name: ``commands_at`` maps each to ("module:attribute", its line in the help).

    ``main`` prints an `InrbenchError` and click's own usage errors as ``error: <one line>`` on stderr and exits with
    the error's status. Anything else is a bug of ours and shows its traceback.
    """

    def __init__(self, *args: Any, commands_at: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of a user's work."""
        return list(self.commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.commands_at:
            return None
        module, _, attribute = self.commands_at[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; an unknown name is answered with the nearest one."""
        if args and args[0] not in self.commands_at and not args[0].startswith("-"):
            from inrbench.errors import nearest

            ctx.fail(f"no command named {args[0]!r}; {nearest(args[0], self.commands_at)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, from their lines alone: nothing is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.commands_at.items()])

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """As click's, with one line for each error; without ``standalone_mode`` errors are raised."""
        from inrbench.errors import InrbenchError

        call: Callable[..., Any] = super().main
        if not standalone_mode:
            return call(*args, standalone_mode=False, **extra)
        try:
            status = call(*args, standalone_mode=False, **extra)
        except click.Abort:  # click's name for Ctrl-C
            say("stopped")
            sys.exit(STOPPED)
        except click.ClickException as error:
            if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
                error.show()  # `inrbench data` alone: the help, not a complaint
            else:
                say(f"error: {_complaint(error)}")
            sys.exit(error.exit_code)
        except InrbenchError as error:
            say(f"error: {_one_line(str(error))}")
            sys.exit(error.exit_code)
        sys.exit(status if isinstance(status, int) else 0)


def _complaint(error: click.ClickException) -> str:
    """What click has to say, in one line, with the command whose help would say more."""
    message = _one_line(error.format_message()).rstrip(".")
    message = message[:1].lower() + message[1:]
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{message} (see `{context.command_path} --help`)" if context else message


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
