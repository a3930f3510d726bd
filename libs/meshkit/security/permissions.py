"""Permissions are `noun:verb`; a held permission may say `*` for noun or verb.

The mesh's own permissions, `mesh:…`, let services act for one another's callers.
No wildcard noun covers them: whoever holds one was given it by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_ANY: Final = "*"
_RESERVED: Final = "mesh"


def allows(held: Iterable[str], permission: str) -> bool:
    """Tell whether any permission in `held` covers `permission`."""
    return any(covers(candidate, permission) for candidate in held)


@lru_cache(maxsize=4096)
def holds(held: tuple[str, ...], permission: str) -> bool:
    """Tell the same, and remember it."""
    return allows(held, permission)


@lru_cache(maxsize=4096)
def covers(held: str, permission: str) -> bool:
    """Tell whether one permission, which may have wildcards, covers another."""
    if held == permission:
        return True
    held_noun, _, held_verb = held.partition(":")
    noun, _, verb = permission.partition(":")
    if noun != held_noun and (held_noun != _ANY or noun == _RESERVED):
        return False
    # A bare noun wildcard, `*`, stands for `*:*`.
    return held_verb in (_ANY, verb) or held == _ANY


def intersection(one: str, other: str) -> str | None:
    """Return what both permissions cover; None if nothing."""
    if covers(one, other):
        return other
    if covers(other, one):
        return one
    noun, _, verb = one.partition(":")
    other_noun, _, other_verb = other.partition(":")
    # Left are those such as `task:*` and `*:read`.
    for crossed in (f"{noun}:{other_verb}", f"{other_noun}:{verb}"):
        if _ANY not in crossed and covers(one, crossed) and covers(other, crossed):
            return crossed
    return None
