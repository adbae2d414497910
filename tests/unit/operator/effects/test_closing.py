"""A connection is closed when it is closed, whatever the other side does."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

from certificates import Authority

from kafleet_operator.effects.closing import closing_at_once

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_SECONDS = 10  # asyncio itself waits for 30


def test_a_close_says_goodbye_and_waits_for_nobody(tmp_path: Path) -> None:
    """The other side is told that nothing was cut off, and need not answer."""
    authority = Authority()
    pair = authority.issue("server")
    (file := tmp_path / "server.pem").write_text(pair.certificate + pair.key)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(file)
    ours = closing_at_once(ssl.create_default_context(cadata=authority.certificate))

    def accept(listener: socket.socket) -> ssl.SSLSocket:
        connected, _ = listener.accept()
        connected.settimeout(PATIENCE_SECONDS)
        return theirs.wrap_socket(connected, server_side=True, suppress_ragged_eofs=False)

    async def story(listener: socket.socket) -> None:
        accepting = asyncio.create_task(asyncio.to_thread(accept, listener))
        _, writer = await asyncio.open_connection(*listener.getsockname(), ssl=ours)
        with await accepting as silent:
            writer.close()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await writer.wait_closed()
            assert silent.recv(1) == b""  # without a goodbye it raises

    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(story(listener))
