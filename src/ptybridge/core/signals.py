"""Signals by name and number: what a caller may write, and how we print them."""

import signal

from ptybridge.errors import InvalidParams


def signal_number(signal_: str | int) -> int:
    """Return the number of "SIGINT", "INT", "int", "2" or 2; raise `InvalidParams` for what is no signal.

    Real-time signals are accepted by number, and by name relative to SIGRTMIN and SIGRTMAX ("RTMIN+3").
    """
    if isinstance(signal_, int) or signal_.strip().isdecimal():
        number = int(signal_)
        if number in signal.valid_signals():
            return number
        raise _unknown(signal_)
    name = signal_.strip().upper().removeprefix("SIG")
    base, sign, distance = name.partition("+") if "+" in name else name.partition("-")
    if sign and base in ("RTMIN", "RTMAX") and distance.isdecimal():
        number = signal.Signals[f"SIG{base}"] + int(sign + distance)
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
        raise _unknown(signal_)
    try:
        return signal.Signals[f"SIG{name}"].value
    except KeyError:
        raise _unknown(signal_) from None


def signal_name(number: int) -> str:
    """Return the name of a signal ("SIGINT"); real-time signals are named relative to SIGRTMIN."""
    try:
        return signal.Signals(number).name
    except ValueError:
        if signal.SIGRTMIN < number < signal.SIGRTMAX:
            return f"SIGRTMIN+{number - signal.SIGRTMIN}"
        return f"SIG{number}"


def _unknown(signal_: str | int) -> InvalidParams:
    names = ", ".join(each.name.removeprefix("SIG") for each in signal.Signals)
    return InvalidParams(f"there is no signal {signal_!r}", hint=f"signals are numbers or one of {names}")
