"""What has ended before its time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Revocation:
    """A credential that has ended, or allows something else than before.

    Attributes:
        credential: Id of an API key or a session that has ended; or `user:<id>`, `key:<id>` or
            `tenant:<name>` of whom something else is allowed than before.
        not_before: Tokens that were issued before don't work any more.
    """

    credential: str
    not_before: datetime
