"""Start a mesh that runs on after this command has returned."""

import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

import typer

from agentmesh.cli.console import out
from agentmesh.cli.welcome import welcome
from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.log_file import LogFile
from agentmesh.stack.secrets import SecretFiles
from agentmesh.stack.state import read_state

POLL_SECONDS = 0.1


def run_detached(data_directory: Path, *, host: str, port: int) -> None:
    """Start a supervisor in a session of its own, and return once its mesh is up.

    Shows what the supervisor prints until then. Exits with its code if it ends instead.
    """
    directory = DataDirectory(data_directory)
    directory.prepare()
    secrets = SecretFiles(directory.secrets)
    had_key = secrets.read("admin") is not None
    log = LogFile(directory.log("up"))
    log.rotate()
    with log.open_for_run() as output, log.path.open() as reader:
        reader.seek(0, 2)
        supervisor = _spawn(directory, output.fileno(), host=host, port=port)
        url = _follow(supervisor, directory, reader)
    out.print(
        welcome(
            url=url,
            admin_key_path=secrets.path("admin"),
            new_admin_key=None if had_key else secrets.read("admin"),
            data_directory=data_directory,
            detached=True,
        )
    )


def _spawn(
    directory: DataDirectory, output: int, *, host: str, port: int
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "agentmesh.cli", "up", "--quiet"]
    command += ["--data-dir", str(directory.path), "--host", host, "--port", str(port)]
    return subprocess.Popen(  # noqa: S603 - this program itself
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=directory.run,
        start_new_session=True,
    )


def _follow(supervisor: subprocess.Popen[bytes], directory: DataDirectory, log: TextIO) -> str:
    """Show the log until the mesh is up, and return its URL."""
    try:
        while True:
            ended = supervisor.poll()
            out.print(log.read(), end="", markup=False)
            if ended is not None:
                raise typer.Exit(ended or 1)
            state = read_state(directory.state)
            if state and state.ready and state.supervisor_pid == supervisor.pid:
                return state.url
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        supervisor.terminate()
        supervisor.wait()
        raise
