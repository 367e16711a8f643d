"""Run by a Python that has terminado: serves one terminal to everybody at /ws. Usage: COMMAND..."""

import asyncio
import sys


async def main(command: list[str]) -> None:
    """Serve for ever; print the port."""
    from terminado import SingleTermManager, TermSocket  # type: ignore[import-not-found, unused-ignore]
    from tornado.httpserver import HTTPServer  # type: ignore[import-not-found, unused-ignore]
    from tornado.netutil import bind_sockets  # type: ignore[import-not-found, unused-ignore]
    from tornado.web import Application  # type: ignore[import-not-found, unused-ignore]

    manager = SingleTermManager(shell_command=command)
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(Application([("/ws", TermSocket, {"term_manager": manager})])).add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
