"""Programs that the tests of `perdure dev` run: the command itself, and small stand-ins for ours.

python dev_programs.py dev '{"data_dir": ..., "port": 0, ...}' | api | worker | migrate
"""

import asyncio
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


def serve_dev(terms: str) -> int:
    from perdure.app.dev import DeployOutcome, DevFile, DevOptions, Programs, run_dev

    async def deploy(project: Path, stack: DevFile) -> DeployOutcome:
        text = (project / "nango.yaml").read_text()
        if "broken" in text:
            return DeployOutcome("not deployed", ("nango.yaml:1:1 is broken",))
        if "crash" in text:
            raise ValueError("no such luck")
        return DeployOutcome(f"deployed {text.strip()!r} to {stack.api_url}")

    settings = json.loads(terms)
    for name in ("data_dir", "project"):
        if settings.get(name) is not None:
            settings[name] = Path(settings[name])
    failing = settings.pop("failing", None)
    commands = {name: (sys.executable, __file__, name) for name in ("api", "worker", "migrate")}
    if failing is not None:
        commands[failing] = (sys.executable, "-c", "raise SystemExit('no good reason')")
    return asyncio.run(run_dev(DevOptions(**settings), deploy, programs=Programs(**commands)))


class Health(BaseHTTPRequestHandler):
    """Answers with the environment that matters."""

    def do_GET(self) -> None:
        names = ("PERDURE_", "TEMPORAL_", "PG")
        body = json.dumps({k: v for k, v in os.environ.items() if k.startswith(names)}).encode()
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def serve_api() -> int:
    address = (os.environ["PERDURE_HOST"], int(os.environ["PERDURE_PORT"]))
    HTTPServer(address, Health).serve_forever()
    return 0


def work() -> int:
    Path(os.environ["PERDURE_READY_FILE"]).touch()
    while True:
        time.sleep(60)


async def migrate() -> int:
    import asyncpg

    connection = await asyncpg.connect(os.environ["PERDURE_DATABASE_URL"])
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz)")
        await connection.execute("INSERT INTO starts VALUES (now())")
    finally:
        await connection.close()
    return 0


if __name__ == "__main__":
    match sys.argv[1]:
        case "dev":
            sys.exit(serve_dev(sys.argv[2]))
        case "api":
            sys.exit(serve_api())
        case "worker":
            sys.exit(work())
        case "migrate":
            sys.exit(asyncio.run(migrate()))
