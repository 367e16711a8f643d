"""The asynchronous client, for asyncio and Trio alike. `sdk/sync` is made from it by `make docs`."""
