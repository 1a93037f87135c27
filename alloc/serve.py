"""Starts the HTTP service: what `dualrec serve` does once it knows the run, the store and the address."""

import contextlib
import gc
import ipaddress
import os
import socket
import sys
from pathlib import Path

from .errors import InputError
from .latest_night import open_nights
from .stream_lines import open_store

KEY_VARIABLE = "DUALREC_API_KEY"
_IDLE_SECONDS = 15
_STOP_SECONDS = 30
_SWITCH_SECONDS = 0.0005
_MOST_AT_ONCE = 1_000
_MOST_FILES = 4_096


def serve(out: Path, run: str | None, store: str, host: str, port: int) -> None:
    """Serves until SIGINT or SIGTERM, requests at hand are answered first; from a run by name or from the latest of ``out``.

    Raises InputError when the run or the store cannot be used, when other machines could reach the service and the variable
    DUALREC_API_KEY is not set, and when the packages of `dualrec[serve]` are missing.
    """
    key = os.environ.get(KEY_VARIABLE) or None
    if key is None and not _is_loopback(host):
        raise InputError(
            f"--host {host} can be reached from other machines: set {KEY_VARIABLE} to a key that they must send"
        )
    try:
        import uvicorn

        from .connection_guard import guarded_protocol
        from .service import make_app
    except ImportError as error:
        raise InputError(f"serve needs more packages ({error}): pip install 'dualrec[serve]'") from None
    if key is not None and not key.isascii():
        raise InputError(f"{KEY_VARIABLE} has characters that are not ASCII, which no header can carry")
    with contextlib.closing(_listening(host, port)) as listener:
        app = make_app(open_nights(out, run, open_store(store)), key)
        config = uvicorn.Config(
            app,
            http=guarded_protocol(),
            ws="none",
            log_level="error",  # a line for each malformed request would fill a disk
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_STOP_SECONDS,
            limit_concurrency=_MOST_AT_ONCE,
            server_header=False,
        )
        _spare_pauses()
        _allow_files()
        print(f"dualrec: serving on http://{host}:{port}, {'with' if key else 'without'} a key", flush=True)
        uvicorn.Server(config).run(sockets=[listener])


def _spare_pauses() -> None:
    """Libraries are hundreds of thousands of objects, and a look through them for garbage takes 0.1 s: they are left out.

    And the thread that comes back from the disk with an answer does not wait 5 ms for the one that reads requests.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_SECONDS)


def _allow_files() -> None:
    """Connections that come in one burst are all accepted before any is closed: many systems allow 1,024 open files."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(_MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _listening(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises InputError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
        # Connections inherit it; without, an answer's body waits 40 ms for the client to acknowledge its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
