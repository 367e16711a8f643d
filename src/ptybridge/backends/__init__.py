"""Backends: each makes a `Child` (see `ptybridge.core.child`)."""
