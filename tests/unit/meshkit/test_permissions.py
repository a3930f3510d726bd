"""The law of wildcards."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from meshkit.security.permissions import allows

WORD = st.from_regex(r"[a-z]{1,5}", fullmatch=True)
NOUN = WORD | st.just("mesh")
HELD = st.lists(
    st.builds("{}:{}".format, NOUN | st.just("*"), WORD | st.just("*")) | st.just("*"), max_size=4
)


@given(noun=NOUN, verb=WORD, other_noun=NOUN, other_verb=WORD)
def test_a_plain_permission_covers_itself_only(
    noun: str, verb: str, other_noun: str, other_verb: str
) -> None:
    same = (noun, verb) == (other_noun, other_verb)
    assert allows([f"{noun}:{verb}"], f"{other_noun}:{other_verb}") == same


@given(noun=NOUN, verb=WORD, other=NOUN)
def test_any_verb_covers_one_noun(noun: str, verb: str, other: str) -> None:
    assert allows([f"{noun}:*"], f"{other}:{verb}") == (noun == other)


@given(noun=NOUN, verb=WORD, other=WORD)
def test_any_noun_covers_one_verb_but_never_of_the_meshs_own(
    noun: str, verb: str, other: str
) -> None:
    assert allows([f"*:{verb}"], f"{noun}:{other}") == (noun != "mesh" and verb == other)


@given(noun=NOUN, verb=WORD)
def test_a_star_covers_all_but_the_meshs_own(noun: str, verb: str) -> None:
    for star in ("*", "*:*"):
        assert allows([star], f"{noun}:{verb}") == (noun != "mesh")
        assert not allows([star], "mesh:*")


@given(first=HELD, second=HELD, noun=NOUN, verb=WORD)
def test_holding_more_allows_what_either_part_allows(
    first: list[str], second: list[str], noun: str, verb: str
) -> None:
    wanted = f"{noun}:{verb}"
    assert allows(first + second, wanted) == (allows(first, wanted) or allows(second, wanted))
    assert not allows([], wanted)


@given(held=HELD, noun=NOUN, verb=WORD)
def test_covering_a_wildcard_takes_one_as_wide(held: list[str], noun: str, verb: str) -> None:
    for wide in ("*", f"{noun}:*"):
        assume(allows(held, wide))
        assert wide == "*" or allows(held, f"{noun}:{verb}")
        assert any("*" in each for each in held)
