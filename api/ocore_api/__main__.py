"""``python -m ocore_api``."""

import gc

# All that the imports make stays. Without this the garbage collector visits it again and again: two fifths of the
# start.
if __name__ == "__main__":
    gc.disable()

import asyncio
import socket
import sys
from collections.abc import Sequence

import uvloop
from pydantic import ValidationError

from ocore_api.cache import Cache
from ocore_api.http.server import Server, listeners
from ocore_api.main import create_app, open_facade, running
from ocore_api.settings import Settings
from ocore_kube import logs

#: Objects that are made before the garbage collector visits the young ones. Python's default of 700 makes it visit each
#: page of a list dozens of times.
YOUNG = 20_000


async def serve(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    """Serves until SIGTERM or SIGINT. `sockets`: see `listeners`."""
    settings = settings.model_copy(update={"monitoring_port": sockets[1].getsockname()[1]})
    async with open_facade(settings) as facade:

        async def settle() -> None:
            await keep(facade.cache)

        facade.background.append(settle)
        async with running(facade):
            await Server(create_app(facade), settings, facade.stop).serve([*sockets])


async def keep(cache: Cache) -> None:
    """Takes what was read out of the garbage collector's sight, once it is complete: it stays, and a visit of all of it
    makes requests wait."""
    await cache.listed()
    gc.collect()
    gc.freeze()


def main() -> None:
    """The console script. Exits with 2 where a setting is wrong, with 1 where a port is taken."""
    gc.freeze()
    gc.enable()
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            where = ".".join(str(part) for part in problem["loc"])
            print(f"OCORE_API_{where.upper()}: {problem['msg']}" if where else problem["msg"], file=sys.stderr)
        sys.exit(2)
    logs.configure(settings.log_level)
    gc.set_threshold(YOUNG)
    try:
        sockets = listeners(settings)
    except OSError as error:
        sys.exit(str(error))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, sockets))


if __name__ == "__main__":
    main()
