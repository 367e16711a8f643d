"""Benches: what ptybridge costs, always as a ratio to another program measured in the same run."""
