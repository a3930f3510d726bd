"""Between the messages of users and sessions and their domain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from mesh.auth.v1 import user_pb2, user_service_pb2
from meshkit.timestamps import to_timestamp
from services.auth.domain.sessions import Session
from services.auth.domain.users import User, UserState
from services.auth.usecases.access import Origin, TokenPair

_STATES: Final = {
    UserState.INVITED: user_pb2.User.STATE_INVITED,
    UserState.ACTIVE: user_pb2.User.STATE_ACTIVE,
    UserState.DISABLED: user_pb2.User.STATE_DISABLED,
}
_LONGEST_ADDRESS: Final = 128
_LONGEST_USER_AGENT: Final = 256


def user_to_proto(user: User) -> user_pb2.User:
    """Encode a user, without anything of its password."""
    return user_pb2.User(
        id=str(user.id),
        email=user.email,
        display_name=user.display_name,
        state=_STATES[user.state],
        create_time=to_timestamp(user.create_time),
        last_login_time=to_timestamp(user.last_login_time),
        subject=user.subject,
    )


def session_to_proto(session: Session) -> user_pb2.Session:
    """Encode a session."""
    return user_pb2.Session(
        id=str(session.id),
        user_id=str(session.user_id),
        create_time=to_timestamp(session.create_time),
        refresh_time=to_timestamp(session.refresh_time),
        expire_time=to_timestamp(session.expire_time),
        address=session.address,
        user_agent=session.user_agent,
    )


def pair_to_proto(pair: TokenPair) -> user_service_pb2.TokenPair:
    """Encode a pair of tokens."""
    answer = user_service_pb2.TokenPair(
        access_token=pair.access.text,
        token_type="Bearer",  # noqa: S106 - the scheme's name
        refresh_token=pair.refresh_token,
    )
    answer.expires_in.FromTimedelta(pair.access.lifetime)
    answer.refresh_expires_in.FromTimedelta(pair.refresh_lifetime)
    return answer


def origin_of(metadata: Iterable[tuple[str, str | bytes]], peer: str) -> Origin:
    """Tell where a call comes from, by what the nearest proxy says of it, or else its peer.

    `peer` is as gRPC writes it: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`, `unix:…`.
    """
    said = {key: value for key, value in metadata if isinstance(value, str)}
    forwarded = said.get("x-forwarded-for", "").rpartition(",")[2].strip()
    address = forwarded or _address_of(peer)
    user_agent = said.get("user-agent", "")
    return Origin(address[:_LONGEST_ADDRESS], user_agent[:_LONGEST_USER_AGENT])


def _address_of(peer: str) -> str:
    family, _, rest = peer.partition(":")
    if family not in ("ipv4", "ipv6"):
        return ""
    return unquote(rest.rpartition(":")[0]).strip("[]")
