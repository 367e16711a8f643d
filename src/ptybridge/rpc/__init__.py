"""The local front end: JSON-RPC 2.0 over a Unix socket. Sees the contract and the wire, never the core."""
