"""Nobody gets more by somebody else's password than they hold."""

from __future__ import annotations

from grpc import StatusCode

from mesh.auth.v1.user_service_pb2 import CreatePasswordResetRequest
from meshkit.testing.refusals import refusal
from tests.integration.auth.people import People


async def test_nobody_resets_the_password_of_who_may_do_more(people: People) -> None:
    above = await people.member("admin")
    alike = await people.member(email="grace@example.org")
    helpdesk = people.of(await people.auth.sign({"scope": "user:reset user:read"}))
    with refusal(StatusCode.PERMISSION_DENIED, "ROLE_NOT_HELD", "user_id"):
        await helpdesk.CreatePasswordReset(CreatePasswordResetRequest(user_id=above.id))
    made = await helpdesk.CreatePasswordReset(CreatePasswordResetRequest(user_id=alike.id))
    assert made.reset_token
