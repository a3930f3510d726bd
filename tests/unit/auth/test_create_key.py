"""What the command that makes keys accepts."""

from __future__ import annotations

import pytest

from services.auth.create_key import create_key

MAKE = ["--name", "a", "--role", "admin"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: --name, --role"),
        (["--name", "", "--role", "admin"], "must have 1 to 128 characters"),
        (["--name", "a" * 129, "--role", "admin"], "must have 1 to 128 characters"),
        ([*MAKE, "--subject", "two words"], "must be printable ASCII without spaces"),
        ([*MAKE, "--tenant", "ä"], "must be printable ASCII without spaces"),
        ([*MAKE, "--tenant", "a\n"], "must be printable ASCII without spaces"),
        ([*MAKE, "--tenant", ""], "must have 1 to 128 characters"),
        ([*MAKE, "--", "--name", "b"], "required: --role"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_anything_is_done(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        await create_key(arguments)
    assert refused.value.code == 2
    written = capsys.readouterr()
    assert words in written.err
    assert not written.out
