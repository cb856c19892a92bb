"""`python -m marl_pricing.serving`: the event API and the price provider of a shop, until Ctrl-C."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from marl_pricing.presentation import pulse
from marl_pricing.presentation.output import run_command

if TYPE_CHECKING:
    from marl_pricing.serving.service import Service

_USAGE = """Take a shop's events and tell its prices, as the storefront asks, until Ctrl-C.

usage: python -m marl_pricing.serving [field=value …]
       python -m marl_pricing.serving settings=FILE.yaml [field=value …]
       python -m marl_pricing.serving refit|promote|rollback|policies|archive [field=value …]     (each has --help)
       python -m marl_pricing.serving goals|assign|labelled [field=value …]        participants of an experiment
       python -m marl_pricing.serving.shoppers [field=value …]                          visitors to try it with

Settings:
"""


async def _serve(service: Service) -> int:
    import socket

    import uvicorn

    own = service.settings
    servers, sockets, addresses = [], [], []
    doors = [("event_port", service.event_app, own.event_port), ("price_port", service.price_app, own.price_port)]
    if own.board_port is not None:
        doors.append(("board_port", service.board_app, own.board_port))
    for name, app, port in doors:
        family = socket.AF_INET6 if ":" in own.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((own.host, port))
        except OSError as error:
            print(f"error: {name}={port}: {own.host} cannot be listened at, {error.strerror}", file=sys.stderr)
            return 2
        listener.listen(2048)
        sockets.append(listener)
        addresses.append(listener.getsockname()[1])
        config = uvicorn.Config(app, access_log=False, log_level="warning", lifespan="off", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]  # two servers, one Ctrl-C
        servers.append(server)
    service.start()
    loop = asyncio.get_running_loop()

    def end() -> None:
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    ticking = asyncio.create_task(service.keep_time()) if own.clock == "wall" else None
    host = f"[{own.host}]" if ":" in own.host else own.host
    pulse.stop()
    print(f"events: http://{host}:{addresses[0]}", flush=True)
    print(f"prices: http://{host}:{addresses[1]}", flush=True)
    log = f"{own.out}/events.sqlite"
    print(f"log: {log}" if own.kafka is None else f"log: {own.kafka}, copied to {log}", flush=True)
    if own.board_port is not None:
        print(f"dashboard: http://{host}:{addresses[2]}", flush=True)
    await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in zip(servers, sockets, strict=True)))
    if ticking is not None:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; exit status 2 and a line a fault on standard error where it cannot be done."""
    from marl_pricing.config.command_line import read_command_line, settings_help
    from marl_pricing.config.errors import ConfigError, validate
    from marl_pricing.serving.log import LogError
    from marl_pricing.serving.promoting import VERBS
    from marl_pricing.serving.promoting import run as run_verb
    from marl_pricing.serving.settings import TEXTS, ServeSettings

    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in ("-h", "--help", "help"):
        print(_USAGE + settings_help(ServeSettings, {}))
        return 0
    try:
        if given and given[0] in VERBS:
            return run_verb(given[0], given[1:])
        settings = validate(ServeSettings, read_command_line(given, texts=TEXTS))
        import uvloop

        from marl_pricing.serving.service import Service

        service = Service(settings)
    except (ConfigError, LogError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(service))
    except LogError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        service.close()


if __name__ == "__main__":
    run_command(main)
