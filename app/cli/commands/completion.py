"""`podwire completion`: the script with which a shell asks this command for the words that may follow."""

from __future__ import annotations

import click

from app.cli.grammar import command

SHELLS = ["bash", "zsh", "fish"]


@command("completion")
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS), help=", ".join(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print the script with which a shell completes this command's words."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.", ctx)
    name = ctx.find_root().info_name or ""
    print(kind(ctx.find_root().command, {}, name, f"_{name.upper()}_COMPLETE").source())
    return 0
