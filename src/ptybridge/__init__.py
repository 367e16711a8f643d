"""ptybridge turns programs and machines into sessions that people, scripts, browsers and AI agents share."""

__version__ = "0.1.0"
