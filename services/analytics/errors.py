"""What can go wrong in analytics."""

from __future__ import annotations

from meshkit.errors import InvalidArgument


class PeriodEmpty(InvalidArgument):
    """A period that ends before it starts, or as it starts."""

    def __init__(self) -> None:
        super().__init__(
            "start_time must be before end_time; leave one out for no bound on that side.",
            field="start_time",
        )
