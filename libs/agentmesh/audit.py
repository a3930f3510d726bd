"""Verifies the audit log from what it exports, trusting nothing but the published keys.

What makes a record's hash is said in `mesh.auth.v1.AuditRecord.hash`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from agentmesh.errors import MeshError
from mesh.auth.v1 import audit_pb2, token_pb2

_GENESIS: Final = "0" * 64
_DECISIONS: Final = {
    audit_pb2.AuditRecord.DECISION_ALLOWED: "ALLOWED",
    audit_pb2.AuditRecord.DECISION_DENIED: "DENIED",
}
_TEXTS: Final = (
    "actor",
    "address",
    "id",
    "method",
    "reason",
    "request_id",
    "resource",
    "service",
    "subject",
    "tenant",
)


class ChainBroken(Exception):
    """The log is not what it was when it was written.

    Attributes:
        sequence: Place of the first record that is wrong.
    """

    def __init__(self, sequence: int, problem: str) -> None:
        super().__init__(problem)
        self.sequence = sequence


@dataclass(frozen=True, slots=True)
class Proof:
    """What is proven of a chain.

    Attributes:
        tenant: Whose chain it is.
        records: How many records follow one another from the first on, without a gap.
        last_hash: The hash of the last one, which stands for all of them.
        checkpoints: How many signed checkpoints agree with the records.
        signed_records: Up to which place somebody with the mesh's signing key vouches for them.
        keys_gone: How many checkpoints agree, but by keys that are not published any more.
    """

    tenant: str
    records: int
    last_hash: str
    checkpoints: int
    signed_records: int
    keys_gone: int


class Checkpoints:
    """The checkpoints of a chain, their signatures checked as they are added."""

    def __init__(self, keys: token_pb2.JsonWebKeySet) -> None:
        """Take the published keys.

        Raises:
            MeshError: What checks signatures is not installed.
        """
        if find_spec("cryptography") is None:
            raise MeshError(
                "signatures can't be checked: install what does it with"
                " `pip install 'agentmesh[server]'`",
                code="FAILED_PRECONDITION",
            )
        self._keys = {key.kid: _decoded(key.x) for key in keys.keys if key.crv == "Ed25519"}
        self._hashes: dict[int, tuple[str, str, bool]] = {}
        self.latest = 0

    def add(self, checkpoint: audit_pb2.AuditCheckpoint) -> None:
        """Add one.

        Raises:
            ChainBroken: Its signature is wrong, or another says something else.
        """
        signed = self._is_signed(checkpoint)
        sequence, said = checkpoint.sequence, (checkpoint.tenant, checkpoint.hash)
        *known, known_signed = self._hashes.get(sequence, (*said, False))
        if tuple(known) != said:
            raise ChainBroken(sequence, "two checkpoints of this record contradict each other")
        self._hashes[sequence] = (*said, signed or known_signed)
        self.latest = max(self.latest, sequence)

    def at(self, sequence: int) -> tuple[str, str, bool] | None:
        """Return tenant and hash at a place, and whether a published key has signed them."""
        return self._hashes.get(sequence)

    def _is_signed(self, checkpoint: audit_pb2.AuditCheckpoint) -> bool:
        key = self._keys.get(checkpoint.key_id)
        if key is None:
            return False
        # Only now: the SDK does without.
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PublicKey,
        )

        text = f"agentmesh audit {checkpoint.tenant} {checkpoint.sequence} {checkpoint.hash}"
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(
                _decoded(checkpoint.signature), text.encode()
            )
        except (InvalidSignature, binascii.Error) as error:
            raise ChainBroken(
                checkpoint.sequence, "the signature of the checkpoint of this record is wrong"
            ) from error
        return True


class Verifier:
    """Follows a chain record by record, and holds it against its checkpoints."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._tenant: str | None = None
        self._sequence = 0
        self._hash = _GENESIS
        self._met = 0
        self._keys_gone = 0
        self._signed = 0
        self._last_unsigned = 0

    def add(self, record: audit_pb2.AuditRecord) -> None:
        """Check the next record.

        Raises:
            ChainBroken: It isn't the one that follows.
        """
        expected = self._sequence + 1
        if record.sequence != expected:
            raise ChainBroken(expected, f"record {record.sequence} stands where {expected} should")
        if self._tenant is not None and record.tenant != self._tenant:
            raise ChainBroken(expected, "it belongs to another tenant")
        if record.hash != record_hash(record, self._hash):
            raise ChainBroken(expected, "its hash is not that of its content and the record before")
        self._tenant, self._sequence, self._hash = record.tenant, expected, record.hash
        self._compare()

    def proof(self, *, whole: bool) -> Proof:
        """Return what is proven.

        Args:
            whole: Whether these were all records there are, not those of an earlier time.

        Raises:
            ChainBroken: Records that a checkpoint vouches for are gone, or the last checkpoint
                is by a key that is not published.
        """
        if whole and self._checkpoints.latest > self._sequence:
            raise ChainBroken(
                self._sequence + 1,
                f"it is gone: a checkpoint says that there were {self._checkpoints.latest} records",
            )
        if whole and self._last_unsigned > self._signed:
            raise ChainBroken(
                self._signed + 1,
                f"nobody vouches for it: the checkpoint of record {self._last_unsigned} is by a"
                " key that is not published",
            )
        return Proof(
            tenant=self._tenant or "",
            records=self._sequence,
            last_hash=self._hash,
            checkpoints=self._met,
            signed_records=self._signed,
            keys_gone=self._keys_gone,
        )

    def _compare(self) -> None:
        checkpoint = self._checkpoints.at(self._sequence)
        if checkpoint is None:
            return
        tenant, digest, signed = checkpoint
        if (tenant, digest) != (self._tenant, self._hash):
            raise ChainBroken(self._sequence, "its signed checkpoint has another hash or tenant")
        if signed:
            self._met += 1
            self._signed = self._sequence
        else:
            self._keys_gone += 1
            self._last_unsigned = self._sequence


def verify(
    records: Iterable[audit_pb2.AuditRecord], checkpoints: Checkpoints, *, whole: bool = True
) -> Proof:
    """Verify a chain of records at hand; see `Verifier`.

    Raises:
        ChainBroken: Naming the first record that is wrong.
    """
    verifier = Verifier(checkpoints)
    for record in records:
        verifier.add(record)
    return verifier.proof(whole=whole)


def record_hash(record: audit_pb2.AuditRecord, previous: str) -> str:
    """Return what the hash of a record has to be; empty if it can't have one."""
    decision = _DECISIONS.get(record.decision)
    # Of what is finer than a microsecond the hash knows nothing.
    if decision is None or record.time.nanos % 1000:
        return ""
    try:
        time = record.time.ToDatetime()
    except ValueError:
        return ""
    members: Mapping[str, str | int] = {
        **{name: getattr(record, name) for name in _TEXTS},
        "decision": decision,
        "previous_hash": previous,
        "sequence": record.sequence,
        "time": time.isoformat(timespec="microseconds") + "Z",
    }
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
