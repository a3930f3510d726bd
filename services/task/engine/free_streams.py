"""The streams with free slots, by capability, and whose turn among them it is."""

from __future__ import annotations

from typing import Final

from services.task.dispatch.fitting import Fit, fit
from services.task.dispatch.steering import Steering
from services.task.dispatch.streams import Stream
from services.task.domain.lanes import Lane

Place = tuple[str, str]
"""Tenant and capability."""

_RUN_SHARE: Final = 4


class FreeStreams:
    """Streams take turns; each is in the line of every capability that it has."""

    def __init__(self, steering: Steering) -> None:
        self._steering = steering
        self._lines: dict[Place, dict[Stream, None]] = {}
        self._chosen: dict[Stream, int] = {}

    def __contains__(self, place: Place) -> bool:
        """Tell whether a stream with this capability is free."""
        return place in self._lines

    def update(self, stream: Stream, *, free: bool) -> None:
        """Note whether a stream is free."""
        if free == stream.listed:
            return
        stream.listed = free
        for capability in stream.capabilities:
            place = (stream.agent.tenant, capability)
            if free:
                self._lines.setdefault(place, {})[stream] = None
            else:
                self._leave(place, stream)

    def next_turn(self) -> None:
        """Have those that were chosen go to the end of their lines."""
        for stream in self._chosen:
            if stream.listed:
                for capability in stream.capabilities:
                    _to_the_end(self._lines[stream.agent.tenant, capability], stream)
        self._chosen.clear()

    def pick(self, lane: Lane, *, later: bool) -> tuple[Stream | None, Fit]:
        """Return the stream for a task of a lane, and how it fits.

        One that isn't preferred is only returned if `later`, and if no other is free.
        """
        place = (lane.key.tenant, lane.key.capability)
        streams = self._lines.get(place)
        if not streams or self._steering.is_paused(*place):
            return None, Fit.NO
        second: Stream | None = None
        for stream in streams:
            verdict = self._fit(stream, lane)
            if verdict is Fit.YES:
                self._choose(stream, streams)
                return stream, verdict
            if verdict is Fit.LATER and second is None and later:
                second = stream
        return second, Fit.LATER if second is not None else Fit.NO

    def _leave(self, place: Place, stream: Stream) -> None:
        streams = self._lines[place]
        del streams[stream]
        if not streams:
            del self._lines[place]

    def _choose(self, stream: Stream, streams: dict[Stream, None]) -> None:
        """Have the turn go on to the next stream, at the latest with the next transaction.

        Within one a stream gets up to a quarter of its slots: they travel as one message.
        """
        chosen = self._chosen.get(stream, 0) + 1
        self._chosen[stream] = chosen
        if chosen % max(1, stream.slots // _RUN_SHARE) == 0:
            _to_the_end(streams, stream)

    def _fit(self, stream: Stream, lane: Lane) -> int:
        if stream.fits_version != self._steering.version:
            stream.fits.clear()
            stream.fits_version = self._steering.version
        verdict = stream.fits.get(lane.id)
        if verdict is None:
            key = lane.key
            routing = self._steering.routings.get((key.tenant, key.capability))
            verdict = fit(key, stream.agent, stream.build_id, routing)
            stream.fits[lane.id] = verdict
        if self._steering.agents and self._steering.is_agent_paused(
            stream.agent.tenant, str(stream.agent.id)
        ):
            return Fit.NO
        return verdict


def _to_the_end(streams: dict[Stream, None], stream: Stream) -> None:
    del streams[stream]
    streams[stream] = None
