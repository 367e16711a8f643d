"""Durations as people write them: 90s, 12h, 30d."""

import re

import click

_UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Turn "90s", "12h" or "30d" into milliseconds."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", value)
    if not found:
        raise click.BadParameter("write a number and s, m, h or d, such as 30d", ctx, param)
    return int(found[1]) * _UNITS[found[2]]
