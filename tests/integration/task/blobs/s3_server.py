"""A server that speaks S3's protocol, as a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import httpx
from pydantic import SecretStr

from services.task.blobs.settings import S3Settings
from tests.integration.replicas import free_port

START_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    """Where it listens."""

    url: str

    def make_bucket(self, name: str) -> S3Settings:
        """Make a bucket and return the settings that lead to it."""
        httpx.put(f"{self.url}/{name}").raise_for_status()
        return S3Settings(
            bucket=name,
            endpoint=self.url,
            access_key_id="tester",
            secret_access_key=SecretStr("secret"),
            allow_http=True,
        )

    def objects(self, bucket: str) -> list[str]:
        """List the keys in a bucket."""
        return self._listed(f"{bucket}?list-type=2", "Key")

    def unfinished(self, bucket: str) -> list[str]:
        """List the keys of multi-part uploads that were neither completed nor aborted."""
        return self._listed(f"{bucket}?uploads", "Key")

    def _listed(self, path: str, tag: str) -> list[str]:
        answer = httpx.get(f"{self.url}/{path}").raise_for_status().text
        return re.findall(f"<{tag}>(.*?)</{tag}>", answer)


def why_none() -> str:
    """Tell what is missing for a server of S3, or nothing."""
    missing = [name for name in ("obstore", "moto", "flask") if find_spec(name) is None]
    return f"not installed: {', '.join(missing)}; they come with the extra dev" if missing else ""


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run one on a free port."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, process)
        yield S3Server(url)
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while time.monotonic() < ends_at:
        assert process.poll() is None, "the S3 server ended"
        try:
            httpx.get(f"{url}/moto-api/", timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the S3 server does not answer")
