"""The least of an HTTP client: a connection that is kept, JSON in, JSON out. For a service on this machine."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 30.0  # seconds for an answer


class ClientError(RuntimeError):
    """There is no answer, or none that can be read."""


class Client:
    """One connection; one question at a time."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """Nothing is opened yet.

        Args:
            url: as http://127.0.0.1:5000.  key: a bearer key.

        Raises:
            ValueError: for another kind of address.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"{url!r}: accepted is an address as http://127.0.0.1:5000")
        self.url, self.host, self.port = url, parts.hostname, parts.port or 80
        self._key = f"Authorization: Bearer {key}\r\n" if key else ""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, target: str, body: bytes | None = None) -> tuple[int, Any]:
        """The answer's status and JSON. A connection that the other side let go of is opened again, once.

        Args:
            target: path and query.

        Raises:
            ClientError: for no answer.
        """
        head = f"{method} {target} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAccept: application/json\r\n{self._key}"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        question = head.encode() + b"\r\n" + (body or b"")
        fresh = self._writer is None
        try:
            async with asyncio.timeout(PATIENCE):
                try:
                    return await self._once(question)
                except (OSError, asyncio.IncompleteReadError):
                    await self.close()
                    if fresh:
                        raise
                    return await self._once(question)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            await self.close()
            raise ClientError(f"{self.url}: {error or type(error).__name__}") from None

    async def _once(self, question: bytes) -> tuple[int, Any]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        self._writer.write(question)
        await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        content = await self._reader.readexactly(length)
        return int(head[9:12]), json.loads(content) if content else None

    async def close(self) -> None:
        """Let go of the connection."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.close()
            with suppress(OSError):  # it is gone
                await writer.wait_closed()
