"""Sans-IO protocols: bytes in, values out. No trio, no sockets."""
