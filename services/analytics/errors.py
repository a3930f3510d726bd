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


class FilterValueInvalid(InvalidArgument):
    """A filter that asks for a value that its field can't have."""

    reason = "INVALID_FILTER"

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"{name} can't be {value!r}: it is {expected}.", field="filter")
