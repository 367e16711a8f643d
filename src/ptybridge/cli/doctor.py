"""`doctor`: what runs, what is in the way, and what to do about it."""

import click

from ptybridge.cli import output
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.doctor_checks import Finding, examine
from ptybridge.cli.exits import EXIT_FAILURE
from ptybridge.text import printable

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@command(
    "doctor",
    example="""
    ptybridge doctor
    ptybridge doctor --json | jq -r '.findings[] | select(.level != "ok") | .advice'
    """,
    exits="""
    0 when there is nothing to do, 1 when there is
    """,
)
@click.option("-q", "--quiet", is_flag=True, help="Show only what needs attention.")
def doctor_command(app: App, quiet: bool) -> int:
    """Look at the daemon, its keeper, their files and the system's limits. Changes and starts nothing.

    Every line says what was found, and where something is not well, what to do.
    """
    findings = examine(app.loaded)
    wrong = [one for one in findings if one.level != "ok"]
    if app.json:
        app.emit({"ok": not wrong, "findings": findings})
    else:
        _print(wrong if quiet else findings)
        print(_summary(wrong))
    return EXIT_FAILURE if wrong else 0


def _print(findings: list[Finding]) -> None:
    width = max((len(one.check) for one in findings), default=0)
    for one in findings:
        mark = output.style(one.level.ljust(4), _STYLES[one.level])
        print(f"{mark}  {one.check.ljust(width)}  {printable(one.message, 2000)}")
        if one.advice:
            print(f"{'':{width + 6}}  {output.style('→', 'dim')} {printable(one.advice, 2000)}")


def _summary(wrong: list[Finding]) -> str:
    if not wrong:
        return "all is well"
    return f"{len(wrong)} thing{'' if len(wrong) == 1 else 's'} to do"
