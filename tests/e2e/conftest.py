"""The mesh that every end-to-end test shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.mesh import RunningMesh, running_mesh


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """Run one real mesh for the whole session; tests leave it running."""
    with running_mesh(tmp_path_factory.mktemp("mesh") / "data") as mesh:
        yield mesh
