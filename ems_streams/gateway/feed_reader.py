"""Reading the feed of notifications from a cursor on: older ones from Kafka, then the ring, then live; without loss or repetition."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from ems_streams.gateway.cursors import Offsets, encode_feed
from ems_streams.gateway.filters import Filter
from ems_streams.gateway.frames import Chunks, notification_frame
from ems_streams.gateway.notifications import Feed, is_ahead
from ems_streams.gateway.ring import Ring
from ems_streams.metrics.gateway import SENT_MESSAGES

BACKFILL_AT_ONCE = 32


class FeedOvertookError(Exception):
    """The reader fell behind the oldest notification that is held."""


class FeedReplacedError(Exception):
    """The topic was made anew; what the reader has read is of the old one."""


class FeedReader:
    """Reads the feed from a point on, for ever: pieces of whole WebSocket frames.

    Args:
        since: Point to resume from; `None` for only what comes from now on.
        wanted: What of the feed is given; the cursors pass over the rest.
        chunks: Shared by all readers.
    """

    def __init__(
        self, feed: Feed, ring: Ring, since: Offsets | None, *, wanted: Filter, chunks: Chunks, backfills: asyncio.Semaphore
    ) -> None:
        self._feed = feed
        self._ring = ring
        self._since = since
        self._wanted = wanted
        self._chunks = chunks
        self._backfills = backfills
        self._position = ring.end
        self._point: Offsets | None = since

    @property
    def cursor(self) -> str | None:
        """Cursor behind all that was given so far, and behind what lay between and is not wanted; None when it is not known at the moment."""
        if self._point is not None:
            return encode_feed(self._point)
        if self._position == self._ring.end:
            return encode_feed(self._ring.after)
        return self._ring.at(self._position - 1).cursor if self._position > self._ring.start else None

    async def read(self) -> AsyncGenerator[bytes]:
        """Raises `FeedOvertookError` or `FeedReplacedError` when it cannot go on exactly."""
        if self._since is not None:
            # Closed with this one: a generator that is left to itself keeps its consumer, and its place among the backfills.
            async with aclosing(self._resume(self._since)) as older:
                async for frames in older:
                    yield frames
        self._point = None
        while True:
            while self._position < self._ring.end:
                if self._position < self._ring.start:
                    raise FeedOvertookError
                frames, self._position, count = self._chunks.take(self._ring, self._position, self._wanted)
                if frames:
                    SENT_MESSAGES.inc(count)
                    yield frames
            if self._feed.ring is not self._ring:
                raise FeedReplacedError
            await self._feed.changed()

    async def _resume(self, since: Offsets) -> AsyncGenerator[bytes]:
        """What lies between the point and the place in the ring from which on the ring's own cursors are right; leaves `_position` there."""
        missing = len(self._ring.after) - len(since)
        point = [*since, *([0] * missing)]
        if await self._feed.is_from_the_future(tuple(point)):
            point = list(self._ring.floor)
        while is_ahead(self._ring.floor, tuple(point)):
            target = self._ring.floor
            async with self._backfills, aclosing(self._read_back(point, target)) as stored:
                async for frames in stored:
                    yield frames
            point = [max(mine, theirs) for mine, theirs in zip(point, target, strict=True)]
        following = self._ring.position_after(tuple(point))
        if following is not None:
            self._position = following
            return
        async with aclosing(self._merge(point)) as merged:
            async for frames in merged:
                yield frames

    async def _read_back(self, point: list[int], target: Offsets) -> AsyncGenerator[bytes]:
        """What is in Kafka only; several at once, and the point moves with what was given."""
        frames: list[bytes] = []
        async with aclosing(self._feed.read_back(tuple(point), target)) as records:
            async for partition, offset, payload, facts in records:
                point[partition] = offset + 1
                if self._wanted.wants(facts):
                    frames.append(notification_frame(encode_feed(point), payload))
                if len(frames) == BACKFILL_AT_ONCE:
                    self._point = tuple(point)
                    SENT_MESSAGES.inc(len(frames))
                    yield b"".join(frames)
                    frames.clear()
        self._point = tuple(point)
        if frames:
            SENT_MESSAGES.inc(len(frames))
            yield b"".join(frames)

    async def _merge(self, point: list[int]) -> AsyncGenerator[bytes]:
        """Entries of the ring beyond the point, with cursors of the client's own until the ring has passed the point in every partition.

        The ring's cursors would go backwards till then. Another gateway, which gave the cursor, may also have been ahead of this one.
        """
        self._position = self._ring.start
        while True:
            while self._position < self._ring.end:
                if self._position < self._ring.start:
                    raise FeedOvertookError
                entry = self._ring.at(self._position)
                self._position += 1
                if entry.offset >= point[entry.partition]:
                    point[entry.partition] = entry.offset + 1
                    self._point = tuple(point)
                    if self._wanted.wants(entry.facts):
                        SENT_MESSAGES.inc()
                        yield notification_frame(encode_feed(point), entry.payload)
                if not is_ahead(tuple(point), entry.after):
                    return
            if not is_ahead(tuple(point), self._ring.after) or self._feed.ring is not self._ring:
                return
            await self._feed.changed()
