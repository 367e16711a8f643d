"""The web front: HTTP, server-sent events and WebSockets over an endpoint. The only importer of quart and hypercorn.

`front.py` is what the daemon has; it imports the rest when the front is opened, so that a daemon without it is lighter.
"""
