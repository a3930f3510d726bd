"""`python -m services.auth create-key`: makes a key straight on the database.

For the first keys of a mesh, when there is no key yet to ask for one with: an
administrator's, and one for each service. Prints a JSON line with `id`, `name`
and `secret`; the secret can't be shown again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from meshkit.database.engine import Database
from meshkit.database.migrations import migrate
from meshkit.settings import LogSettings
from meshkit.telemetry.logs import configure_logs
from services.auth.secrets import MasterKey
from services.auth.settings import OfflineSettings
from services.auth.usecases.keys import ApiKeys, NewKey
from services.auth.usecases.permissions import Permissions
from services.auth.usecases.revocations import Revocations
from services.auth.usecases.tokens import check_master_key

MIGRATIONS = Path(__file__).parent / "migrations"
_LONGEST = 128


async def create_key(arguments: list[str]) -> None:
    """Parse the arguments, which name several keys if `--` divides them, and make the keys."""
    wanted = [_parser().parse_args(each) for each in _divided(arguments)]
    configure_logs(LogSettings(), service="auth", stream=sys.stderr)
    settings = OfflineSettings()
    database = Database(settings.database)
    await migrate(database.url, MIGRATIONS)
    master = MasterKey(settings.auth.master_key.get_secret_value())
    await check_master_key(database, master)
    api_keys = ApiKeys(
        database,
        master,
        Permissions(database),
        Revocations(database),
        environment=settings.auth.key_environment,
    )
    for each in wanted:
        key, secret = await api_keys.issue(
            each.tenant,
            NewKey(display_name=each.name, roles=each.role, subject=each.subject or ""),
            "operator",
        )
        answer = {"id": str(key.id), "name": each.name, "secret": secret}
        sys.stdout.write(json.dumps(answer) + "\n")
    await database.close()


def _divided(arguments: list[str]) -> list[list[str]]:
    divided: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "--":
            divided.append([])
        else:
            divided[-1].append(argument)
    return divided


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m services.auth create-key")
    parser.add_argument("--name", required=True, type=_name, help="what the key is for")
    parser.add_argument("--role", required=True, action="append", help="may be repeated")
    parser.add_argument(
        "--tenant", default="default", type=_header_text, help="tenant the key is confined to"
    )
    parser.add_argument(
        "--subject", type=_header_text, help="whom a call with the key acts as; key:<id> if unset"
    )
    return parser


def _name(text: str) -> str:
    if not 1 <= len(text) <= _LONGEST:
        raise argparse.ArgumentTypeError(f"must have 1 to {_LONGEST} characters")
    return text


def _header_text(text: str) -> str:
    # It travels between services in headers, which hold nothing else.
    if not _name(text).isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError("must be printable ASCII without spaces")
    return text
