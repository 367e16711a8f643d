"""Starts daemons at once: a process that has imported all a daemon needs, has no threads, and forks on request.

Speaks lines on its standard streams: `start LOG` answers the new daemon's pid, `reap PID` its exit status.
"""

import importlib
import os
import sys


def be_daemon(log: str) -> None:
    os.setsid()
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDWR)
    for goal, source in enumerate((null, fd, fd)):
        os.dup2(source, goal)
    os.closerange(3, 64)
    sys.argv = ["ptybridge", "serve", "--detached"]
    from ptybridge.cli.main import main

    main()


def warm_up() -> None:
    for module in ("backends.keeper_link", "cli.main", "cli.program", "cli.serve", "daemon", "sdk.autostart"):
        importlib.import_module(f"ptybridge.{module}")
    from ptybridge.core.screen import Screen
    from ptybridge.model import WindowSize

    screen = Screen(WindowSize(2, 2))
    screen.feed(b"x")
    screen.capture()  # the first one in a process parses C declarations, which takes longer than a whole start


def run() -> None:
    warm_up()
    print("ready", flush=True)
    for line in sys.stdin:
        word, argument = line.split(None, 1)
        if word == "start":
            pid = os.fork()
            if pid == 0:
                code = 70
                try:
                    be_daemon(argument.strip())
                    code = 0
                except SystemExit as ending:
                    code = ending.code if isinstance(ending.code, int) else 1
                finally:
                    os._exit(code)
            print(pid, flush=True)
        else:
            _, status = os.waitpid(int(argument), 0)
            print(status, flush=True)


if __name__ == "__main__":
    run()
