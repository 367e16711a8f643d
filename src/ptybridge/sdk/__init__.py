"""For programs that use a daemon: connections over its socket, blocking and light."""
