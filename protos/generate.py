"""Generate the Python contracts of `libs/` from `protos/`.

Writes libs/mesh and libs/buf; with `--check`, fails if what is committed there is
stale; with `--deps`, only lays build/googleapis for buf.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
LIBS = ROOT / "libs"
GOOGLEAPIS = ROOT / "build" / "googleapis"
GENERATED = ("mesh", "buf")
GOOGLE_PACKAGES = ("api", "rpc")
WELL_KNOWN = Path(str(files("grpc_tools"))) / "_proto"


def lay_googleapis() -> None:
    """Copy the google protos that ours import to where buf and protoc look for them."""
    google = Path(next(iter(__import__("google.api").__path__)))
    for package in GOOGLE_PACKAGES:
        target = GOOGLEAPIS / "google" / package
        target.mkdir(parents=True, exist_ok=True)
        for proto in (google / package).glob("*.proto"):
            shutil.copy(proto, target / proto.name)


def run_protoc(out: Path, protos: list[Path], *flags: str) -> None:
    """Run protoc over `protos`; exits the process when it fails."""
    arguments = ["protoc", f"-I{PROTOS}", f"-I{GOOGLEAPIS}", f"-I{WELL_KNOWN}"]
    arguments += [flag.format(out=out) for flag in flags]
    arguments += [str(proto.relative_to(PROTOS)) for proto in protos]
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed")


def generate(out: Path) -> None:
    """Write messages and typing for every proto, and stubs for the service protos, below `out`."""
    protos = sorted(PROTOS.rglob("*.proto"))
    services = [proto for proto in protos if proto.name.endswith("_service.proto")]
    run_protoc(out, protos, "--python_out={out}", "--mypy_out=quiet:{out}")
    run_protoc(out, services, "--grpc_python_out={out}", "--mypy_grpc_out=quiet,only_async:{out}")


def files_below(root: Path) -> set[Path]:
    """The generated files below `root`, relative to it."""
    found = (path for top in GENERATED for path in (root / top).rglob("*.py*"))
    return {path.relative_to(root) for path in found if "__pycache__" not in path.parts}


def stale(fresh: Path) -> list[Path]:
    """Files that differ between the fresh generation and the committed one."""
    names = sorted(files_below(fresh) | files_below(LIBS))
    _, differing, missing = filecmp.cmpfiles(fresh, LIBS, [str(name) for name in names], False)
    return [Path(name) for name in (*differing, *missing)]


def write() -> None:
    """Replace the committed stubs, once all of the new ones are there."""
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary)
        generate(fresh)
        for top in GENERATED:
            shutil.rmtree(LIBS / top, ignore_errors=True)
            shutil.copytree(fresh / top, LIBS / top)


def check() -> int:
    """Compare a fresh generation with what is committed."""
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary)
        generate(fresh)
        differing = stale(fresh)
    for path in differing:
        print(f"stale: libs/{path}", file=sys.stderr)
    if differing:
        print("run: tox -e gen", file=sys.stderr)
    return 1 if differing else 0


def main() -> int:
    """Parse the flags and do what they say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if the stubs are stale")
    parser.add_argument("--deps", action="store_true", help="only lay build/googleapis")
    flags = parser.parse_args()
    lay_googleapis()
    if flags.deps:
        return 0
    if flags.check:
        return check()
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
