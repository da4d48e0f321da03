"""Free ports on loopback."""

import socket
from collections.abc import Mapping

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of loopback now (0: any)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose(preferred: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name, all different: the preferred one where it is free."""
    held: list[socket.socket] = []
    chosen: dict[str, int] = {}
    try:
        for name, port in preferred.items():
            usable = is_free(port) and port not in chosen.values()
            listener = socket.socket()
            held.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((LOOPBACK, port if usable else 0))
            chosen[name] = listener.getsockname()[1]
    finally:
        for listener in held:
            listener.close()
    return chosen
