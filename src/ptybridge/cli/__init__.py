"""The shell commands: thin, light to start, and without knowledge of what is behind the socket."""
