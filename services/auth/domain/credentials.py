"""What the mesh proves itself with to external services."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from services.auth.domain.proofs import Proof, kind_of, settings_of


@dataclass(frozen=True, slots=True)
class ServiceCredential:
    """How the mesh proves itself to an external service, without the secret."""

    tenant: str
    name: str
    proof: Proof
    create_time: datetime
    update_time: datetime


def place(tenant: str, name: str) -> bytes:
    """Return what a sealed key is bound to: it opens nothing in another row."""
    return json.dumps([tenant, name]).encode()


def beside(tenant: str, name: str, proof: Proof) -> bytes:
    """Return what a sealed secret is bound to: where it belongs and all that is stored in clear.

    Whoever can write to the database but doesn't have the master key can't have a secret
    sent elsewhere, for example by another token URL.
    """
    said = [tenant, name, kind_of(proof), settings_of(proof)]
    return json.dumps(said, sort_keys=True).encode()
