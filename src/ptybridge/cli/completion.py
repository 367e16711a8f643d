"""`completion`: what a shell needs to complete our commands and the names of sessions."""

import os

import click

from ptybridge.cli.app import App
from ptybridge.cli.command import command

SHELLS = ("bash", "zsh", "fish")


@command(
    "completion",
    example="""
    bash:  echo 'eval "$(ptybridge completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(ptybridge completion zsh)"' >> ~/.zshrc
    fish:  ptybridge completion fish > ~/.config/fish/completions/ptybridge.fish
    """,
    json=False,
)
@click.argument("shell", required=False, type=click.Choice(SHELLS))
def completion_command(app: App, shell: str | None) -> None:
    """Print the completion script of SHELL, by default of yours."""
    from click.shell_completion import get_completion_class

    from ptybridge.cli.program import program

    name = shell or os.path.basename(os.environ.get("SHELL", ""))
    kind = get_completion_class(name) if name in SHELLS else None
    if kind is None:
        raise click.UsageError(f"say which shell: {', '.join(SHELLS)}")
    # Not `source()`: for bash that first runs bash to look at its version.
    script = kind(program, {}, "ptybridge", "_PTYBRIDGE_COMPLETE")
    print(script.source_template % script.source_vars())
