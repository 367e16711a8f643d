"""The keeper: the small process that owns children and descriptors so that they outlive the daemon.

Standard library and ptyprocess only, so that it stays small; of it, core may import `ring` alone.
"""
