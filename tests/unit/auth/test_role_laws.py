"""What holds of roles and permissions, whatever they are."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.limits.rate import RateLimit
from meshkit.security.permissions import allows, intersection
from services.auth.domain.roles import BUILT_IN, Role, RoleBook, narrowed
from services.auth.errors import RoleCycle, RoleUnknown

NOUNS = ("task", "agent", "tool", "mesh")
VERBS = ("read", "create")
EXACT = [f"{noun}:{verb}" for noun in NOUNS for verb in VERBS]
HELD = [*EXACT, *(f"{noun}:*" for noun in NOUNS), *(f"*:{verb}" for verb in VERBS), "*", "*:*"]
NAMES = [f"r{number}" for number in range(6)]

permissions = st.lists(st.sampled_from(HELD), max_size=4).map(tuple)


@st.composite
def books(draw: st.DrawFn) -> RoleBook:
    """Roles that inherit only from those before them, so that there is no cycle."""
    return RoleBook(
        Role(
            name,
            "",
            draw(permissions),
            tuple(draw(st.sets(st.sampled_from(NAMES[:number])))) if number else (),
            draw(st.none() | st.builds(RateLimit, st.sampled_from([1.0, 5.0]), st.just(2))),
            version=1,
        )
        for number, name in enumerate(NAMES)
    )


def closure(book: RoleBook, name: str) -> set[str]:
    """All that a role allows, added up the plain way."""
    role = book.roles[name]
    return set(role.permissions).union(*(closure(book, each) for each in role.inherits))


@given(books(), st.sets(st.sampled_from(NAMES)))
def test_a_role_allows_what_it_and_all_it_inherits_allow(book: RoleBook, names: set[str]) -> None:
    plain = set().union(*(closure(book, name) for name in names))
    for permission in EXACT:
        assert allows(book.permissions_of(names), permission) == allows(plain, permission)


@given(books(), st.sampled_from(NAMES), st.sampled_from(EXACT))
def test_what_is_allowed_is_explained_and_nothing_else(
    book: RoleBook, name: str, permission: str
) -> None:
    binding = uuid4()
    grants = book.grants_of([(binding, name)], permission)
    assert bool(grants) == allows(book.permissions_of([name]), permission)
    assert (name in book.allowing(permission)) == bool(grants)
    for grant in grants:
        assert grant.binding_id == binding
        assert grant.roles[0] == name
        for role, inherited in zip(grant.roles, grant.roles[1:], strict=False):
            assert inherited in book.roles[role].inherits
        assert grant.held in book.roles[grant.roles[-1]].permissions


@given(st.sampled_from(HELD), st.sampled_from(HELD), st.sampled_from(EXACT))
def test_an_intersection_allows_what_both_allow(one: str, other: str, permission: str) -> None:
    both = intersection(one, other)
    allowed = both is not None and allows([both], permission)
    assert allowed == (allows([one], permission) and allows([other], permission))


@given(permissions, permissions, st.sampled_from(EXACT))
def test_scopes_only_ever_take_away(
    held: tuple[str, ...], scopes: tuple[str, ...], permission: str
) -> None:
    wanted = allows(held, permission) and (not scopes or allows(scopes, permission))
    assert allows(narrowed(held, scopes), permission) == wanted


@pytest.mark.parametrize(
    ("higher", "lower"), [("analyst", "viewer"), ("operator", "analyst"), ("admin", "operator")]
)
def test_built_in_roles_inherit(higher: str, lower: str) -> None:
    book = RoleBook()
    assert lower in book.roles[higher].inherits
    held = book.permissions_of([higher])
    assert all(allows(held, each) for each in book.permissions_of([lower]))
    assert not all(allows(book.permissions_of([lower]), each) for each in held)


def test_the_highest_limit_counts_and_the_nearest_inherited() -> None:
    slow, fast = RateLimit(1, 1), RateLimit(9, 9)
    book = RoleBook(
        [
            Role("slow", "", (), rate_limit=slow, version=1),
            Role("fast", "", (), rate_limit=fast, version=1),
            Role("heir", "", (), ("slow",), version=1),
            Role("own", "", (), ("fast",), rate_limit=slow, version=1),
        ]
    )
    assert book.rate_limit_of(["slow", "fast"]) == fast
    assert book.rate_limit_of(["heir"]) == slow
    assert book.rate_limit_of(["own"]) == slow
    assert book.rate_limit_of(["agent"]) is None
    tiers = [book.rate_limit_of([name]) for name in ("viewer", "analyst", "operator", "admin")]
    known = [tier for tier in tiers if tier is not None]
    assert len(set(known)) == 4
    assert known == sorted(known)


def test_a_role_can_not_inherit_itself_nor_what_is_not_there() -> None:
    book = RoleBook(
        [Role("a", "", (), ("b",), version=1), Role("b", "", (), ("c",), version=1),
         Role("c", "", (), ("a",), version=1)]
    )  # fmt: skip
    with pytest.raises(RoleCycle):
        book.check_acyclic("a")
    with pytest.raises(RoleUnknown):
        book.check_known(["nobody"], "role.inherits")
    for name in BUILT_IN:
        book.check_acyclic(name)
