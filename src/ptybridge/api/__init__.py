"""The contract: every operation as a value, with typed parameters and result. Pure: no trio, no sockets."""
