"""Run the gateway: `python -m gateway`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from pydantic import ValidationError

from gateway.bootstrap import bootstrap
from gateway.errors import GatewayError
from gateway.process import validate
from gateway.settings import Settings, explain
from gateway.supervisor import serve
from meshkit.telemetry.logs import configure_logs


def parse_flags() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    parser.add_argument("--mode", choices=("serve", "validate"), default="serve")
    parser.add_argument("--print-config", action="store_true", help="print Envoy's configuration")
    return parser.parse_args()


def run(flags: argparse.Namespace, settings: Settings, work_dir: Path) -> int:
    """Do what the flags say, and give the exit status."""
    gateway, peers = settings.gateway, settings.peers
    if flags.print_config:
        sys.stdout.write(bootstrap(gateway, peers, work_dir).to_json(indent=2))
        return 0
    if flags.mode == "validate":
        return 1 if asyncio.run(validate(gateway, peers, work_dir)) else 0
    configure_logs(settings.log, service="gateway")
    asyncio.run(serve(gateway, peers, work_dir))
    return 0


def main() -> int:
    """Build the settings and run; expected failures are told in a sentence."""
    flags = parse_flags()
    try:
        settings = Settings()
        with tempfile.TemporaryDirectory(prefix="agentmesh-gateway-") as temporary:
            return run(flags, settings, settings.gateway.work_dir or Path(temporary))
    except ValidationError as error:
        sys.exit(explain(error))
    except GatewayError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(main())
