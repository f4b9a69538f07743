"""Connections whose tokens a real authorization server issues, and who keeps them good."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from activities.credential_keeper import CredentialKeeper
from perdure.auth.tokens import TokenClient
from perdure.connections.credentials import reveal_credentials
from perdure.crypto.keyring import KeyRing
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from tests.support.authorization_server import PROVIDERS, AuthorizationServer

__all__ = ["Keeping", "keeping", "loopback_connection", "process_that_asks", "providers_file"]


def providers_file(folder: Path) -> Path:
    """Write the entries of the loopback providers."""
    path = folder / "providers.yaml"
    path.write_text(PROVIDERS)
    return path


async def loopback_connection(
    database: Database,
    environment_id: Any,
    server: AuthorizationServer,
    credentials: Mapping[str, Any],
    *,
    provider: str = "loopback-oauth",
    integration: str = "tracker",
    connection_id: str = "acme",
    **config: str,
) -> Connection:
    """Make a connection to the server, and its integration where it is missing."""
    known = {i.unique_key for i in await database.integrations.list(environment_id)}
    if integration not in known:
        await database.integrations.create(environment_id, integration, provider)
        await database.integrations.update(
            environment_id, integration, credentials={"type": "OAUTH2", **server.client}
        )
    connection, _ = await database.connections.save(
        environment_id,
        integration,
        connection_id,
        credentials,
        connection_config={"issuer": server.url, **config},
    )
    return connection


@dataclass
class Keeping:
    """A keeper, and a connection that it keeps good."""

    database: Database
    keeper: CredentialKeeper
    server: AuthorizationServer
    connection: Connection

    async def fresh(self, **options: Any) -> dict[str, Any]:
        """Credentials that are good for use, readable."""
        return reveal_credentials(await self.keeper.fresh(self.connection, **options))

    async def stored(self) -> dict[str, Any]:
        """Credentials as they are stored, readable."""
        return await self.database.connections.credentials(self.connection)

    async def give(self, credentials: Mapping[str, Any]) -> None:
        """Give the connection other credentials, as a user does."""
        self.connection = await loopback_connection(
            self.database, self.connection.environment_id, self.server, credentials
        )

    async def known(self) -> Connection:
        """The connection as it is now."""
        return await self.database.connections.by_key(self.connection.key)

    async def in_the_past(self, **ago: float) -> None:
        """Make the last failure one that happened earlier."""
        failure = (await self.known()).refresh_failure
        assert failure is not None
        await self.database.pool.execute(
            "UPDATE connections SET refresh_failure = (SELECT jsonb_object_agg(key, CASE"
            " WHEN key IN ('at', 'retry_at', 'day_began_at')"
            " THEN to_jsonb((value #>> '{}')::timestamptz - $2::interval) ELSE value END)"
            " FROM jsonb_each(refresh_failure)) WHERE id = $1",
            self.connection.key,
            timedelta(**ago),
        )


@asynccontextmanager
async def keeping(
    database: Database,
    server: AuthorizationServer,
    catalog: ProviderCatalog,
    credentials: Mapping[str, Any],
    *,
    provider: str = "loopback-oauth",
) -> AsyncIterator[Keeping]:
    """Give a keeper and a connection in an environment of its own."""
    environment = await database.environments.ensure(f"env-{uuid4().hex}", str(uuid4()))
    connection = await loopback_connection(
        database, environment.id, server, credentials, provider=provider
    )
    async with (
        HttpTransport(AddressGuard(allow_private_networks=True)) as transport,
        CredentialKeeper(database, catalog, TokenClient(transport)) as keeper,
    ):
        yield Keeping(database, keeper, server, connection)


@dataclass
class Asking:
    """A process that asks for the credentials of a connection, many times at once."""

    process: asyncio.subprocess.Process

    async def answers(self) -> list[str]:
        """The access tokens that it got."""
        out, _ = await self.process.communicate()
        assert self.process.returncode == 0
        return json.loads(out.splitlines()[-1])

    async def kill(self) -> None:
        """End it without warning."""
        os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()


async def process_that_asks(
    database_url: str, keys: str, providers: Path, connection: Connection, times: int
) -> Asking:
    """Start a process of its own that asks once its standard input says so."""
    command = [sys.executable, "-m", "tests.support.keepers", str(connection.key), str(times)]
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "ASK_DATABASE": database_url, "ASK_KEYS": keys, "ASK_FILE": providers},
        cwd=Path(__file__).parent.parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return Asking(process)


async def begin(*processes: Asking) -> None:
    """Have processes ask."""
    for asking in processes:
        assert asking.process.stdin is not None
        asking.process.stdin.write(b"go\n")


async def _ask(key: int, times: int) -> list[str]:
    catalog = ProviderCatalog.load(Path(os.environ["ASK_FILE"]))
    keyring = KeyRing.parse(os.environ["ASK_KEYS"])
    async with (
        Database.open(os.environ["ASK_DATABASE"], keyring=keyring) as database,
        HttpTransport(AddressGuard(allow_private_networks=True)) as transport,
        CredentialKeeper(database, catalog, TokenClient(transport)) as keeper,
    ):
        connection = await database.connections.by_key(key)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        found = await asyncio.gather(*(keeper.fresh(connection) for _ in range(times)))
        return [str(reveal_credentials(credentials)["access_token"]) for credentials in found]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_ask(int(sys.argv[1]), int(sys.argv[2])))))
