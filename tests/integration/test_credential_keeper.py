"""Credentials are refreshed by one, stored before they are used, and never lost.

The authorization server rotates refresh tokens; whoever uses one a second time loses the grant, so
each of these tests would see a second refresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from perdure.clock import utcnow
from perdure.connections.credentials import parse_credentials
from perdure.crypto.keyring import KeyRing, new_key
from perdure.db.credential_refreshes import CredentialRefreshStore
from perdure.db.database import Database
from perdure.errors import CredentialsError, NotFoundError, UnavailableError, UpstreamError
from perdure.providers.provider_catalog import ProviderCatalog
from tests.support.authorization_server import AuthorizationServer, authorization_server
from tests.support.keepers import Keeping, begin, keeping, process_that_asks, providers_file

ENDED = -1.0


class Opens(Protocol):
    """Makes a connection with these credentials, and a keeper."""

    def __call__(
        self, credentials: dict[str, Any], **options: Any
    ) -> AbstractAsyncContextManager[Keeping]: ...


@pytest.fixture(scope="module")
def keys() -> str:
    return new_key()


@pytest.fixture(scope="module")
async def database(postgres: str, keys: str) -> AsyncIterator[Database]:
    async with Database.open(postgres, keyring=KeyRing.parse(keys), pool_size=12) as database:
        yield database


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return providers_file(tmp_path_factory.mktemp("providers"))


@pytest.fixture(scope="module")
def catalog(providers: Path) -> ProviderCatalog:
    return ProviderCatalog.load(providers)


@pytest.fixture
async def server() -> AsyncIterator[AuthorizationServer]:
    async with authorization_server() as server:
        yield server


@pytest.fixture
def opens(database: Database, server: AuthorizationServer, catalog: ProviderCatalog) -> Opens:
    def open_(credentials: dict[str, Any], **options: Any) -> AbstractAsyncContextManager[Keeping]:
        return keeping(database, server, catalog, credentials, **options)

    return open_


@pytest.fixture
async def ended(opens: Opens, server: AuthorizationServer) -> AsyncIterator[Keeping]:
    """A connection whose access token has ended."""
    async with opens(await server.tokens(lifetime=ENDED)) as kept:
        yield kept


@pytest.fixture
async def good(opens: Opens, server: AuthorizationServer) -> AsyncIterator[Keeping]:
    """A connection whose access token is good for an hour."""
    async with opens(await server.tokens()) as kept:
        yield kept


async def test_good_credentials_are_used_as_they_are(
    good: Keeping, server: AuthorizationServer
) -> None:
    assert await good.fresh() == await good.stored()
    assert await server.refreshes() == 0


async def test_an_ended_token_is_replaced_and_the_new_refresh_token_is_kept(
    ended: Keeping, server: AuthorizationServer
) -> None:
    before = await ended.stored()

    found = await ended.fresh()

    assert found["access_token"] != before["access_token"]
    assert found["refresh_token"] != before["refresh_token"]
    assert await ended.stored() == found
    assert await ended.fresh() == found
    assert await server.refreshes() == 1


async def test_each_refresh_goes_on_with_what_the_last_one_got(
    good: Keeping, server: AuthorizationServer
) -> None:
    tokens = [(await good.fresh(force=True))["refresh_token"] for _ in range(5)]

    assert len(set(tokens)) == 5
    assert await server.refreshes() == 5
    assert await server.refused() == []


async def test_a_hundred_callers_cause_one_refresh(
    ended: Keeping, server: AuthorizationServer
) -> None:
    found = await asyncio.gather(*(ended.fresh() for _ in range(100)))

    assert len({one["access_token"] for one in found}) == 1
    assert await server.refreshes() == 1
    assert await server.refused() == []


async def test_a_hundred_callers_that_insist_cause_one_refresh(
    good: Keeping, server: AuthorizationServer
) -> None:
    found = await asyncio.gather(*(good.fresh(force=True) for _ in range(100)))

    assert len({one["access_token"] for one in found}) == 1
    assert await server.refreshes() == 1


async def test_a_hundred_callers_in_four_processes_cause_one_refresh(
    ended: Keeping, server: AuthorizationServer, postgres: str, keys: str, providers: Path
) -> None:
    processes = await asyncio.gather(
        *(process_that_asks(postgres, keys, providers, ended.connection, 25) for _ in range(4))
    )

    await begin(*processes)
    found = await asyncio.gather(*(process.answers() for process in processes))

    assert [len(answers) for answers in found] == [25] * 4
    assert {token for answers in found for token in answers} == {
        (await ended.stored())["access_token"]
    }
    assert await server.refreshes() == 1
    assert await server.refused() == []


async def test_a_caller_that_gives_up_does_not_end_the_refresh(
    ended: Keeping, server: AuthorizationServer
) -> None:
    before = await ended.stored()
    await server.hold()
    impatient = asyncio.create_task(ended.fresh())
    patient = asyncio.create_task(ended.fresh())
    await server.holding()

    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    await server.release()

    assert (await patient)["refresh_token"] != before["refresh_token"]
    assert await server.refreshes() == 1


async def test_a_process_that_ends_waits_for_what_it_was_promised(
    opens: Opens, server: AuthorizationServer, database: Database
) -> None:
    async with opens(await server.tokens(lifetime=ENDED)) as kept:
        before = await kept.stored()
        await server.hold()
        asking = asyncio.create_task(kept.fresh())
        await server.holding()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        asyncio.get_running_loop().call_later(0.2, lambda: asyncio.ensure_future(server.release()))

    after = await database.connections.credentials(kept.connection)
    assert after["refresh_token"] != before["refresh_token"]


async def test_what_the_provider_issued_waits_for_the_database(
    ended: Keeping, server: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, failures = CredentialRefreshStore.store, [UnavailableError("away")] * 3

    async def away(*args: Any, **options: Any) -> bool:
        if failures:
            raise failures.pop()
        return await original(*args, **options)

    monkeypatch.setattr(CredentialRefreshStore, "store", away)

    found = await ended.fresh()

    assert await ended.stored() == found
    assert await server.refreshes() == 1


async def test_credentials_that_a_user_gives_meanwhile_count(
    ended: Keeping, server: AuthorizationServer
) -> None:
    await server.hold()
    asking = asyncio.create_task(ended.fresh())
    await server.holding()
    given = await server.tokens()
    await ended.give(given)
    await server.release()

    assert (await asking)["access_token"] == given["access_token"]
    assert (await ended.stored())["refresh_token"] == given["refresh_token"]


async def test_a_connection_that_is_deleted_meanwhile_is_unknown(
    ended: Keeping, server: AuthorizationServer
) -> None:
    await server.hold()
    asking = asyncio.create_task(ended.fresh())
    await server.holding()
    connection = ended.connection
    await ended.database.connections.delete(
        connection.environment_id, connection.integration, connection.connection_id
    )
    await server.release()

    with pytest.raises(NotFoundError):
        await asking


async def test_a_refused_token_is_replaced_once_for_all_whom_it_was_refused(
    good: Keeping, server: AuthorizationServer
) -> None:
    refused = parse_credentials(await good.stored())

    found = await asyncio.gather(*(good.fresh(refused=refused) for _ in range(30)))

    assert len({one["access_token"] for one in found}) == 1
    assert await good.fresh(refused=refused) == found[0], "it is another one by now"
    assert await server.refreshes() == 1


async def test_a_server_that_is_down_is_tried_again_later(
    ended: Keeping, server: AuthorizationServer
) -> None:
    await server.fail(times=1)

    with pytest.raises(UpstreamError) as caught:
        await ended.fresh()
    assert caught.value.code == "connection_refresh_backoff"
    assert caught.value.retryable
    assert caught.value.retry_after is not None
    with pytest.raises(UpstreamError):
        await ended.fresh()
    assert await server.refreshes() == 0, "nothing was tried meanwhile"

    await ended.in_the_past(seconds=31)
    assert await ended.fresh() == await ended.stored()
    assert await server.refreshes() == 1
    assert (await ended.known()).refresh_failure is None


async def test_a_token_that_is_about_to_end_is_used_while_the_server_is_down(
    opens: Opens, server: AuthorizationServer
) -> None:
    async with opens(await server.tokens(lifetime=60)) as kept:
        await server.fail()

        assert await kept.fresh() == await kept.stored()
        failure = (await kept.known()).refresh_failure
        assert failure is not None
        assert not failure["lasting"]
        with pytest.raises(UpstreamError):
            await kept.fresh(force=True)
        with pytest.raises(UpstreamError):
            await kept.fresh(refused=parse_credentials(await kept.stored()))


async def revoked(kept: Keeping) -> None:
    await kept.server.revoke(await kept.stored())


async def test_dead_credentials_are_a_lasting_refusal(
    ended: Keeping, server: AuthorizationServer
) -> None:
    await revoked(ended)

    errors = await asyncio.gather(*(ended.fresh() for _ in range(20)), return_exceptions=True)

    assert {type(error) for error in errors} == {CredentialsError}
    assert {error.code for error in errors} == {"invalid_credentials"}
    assert len(await server.refused()) == 1, "one asked for all"
    with pytest.raises(CredentialsError) as caught:
        await ended.fresh()
    assert caught.value.code == "connection_refresh_backoff"
    assert caught.value.payload["error"]["type"] == "invalid_grant"
    assert len(await server.refused()) == 1, "nothing was tried meanwhile"


async def test_a_user_who_insists_is_not_held_off(
    ended: Keeping, server: AuthorizationServer
) -> None:
    await revoked(ended)
    for count in (1, 2):
        with pytest.raises(CredentialsError) as caught:
            await ended.fresh(force=True)
        assert caught.value.code == "invalid_credentials"
        assert len(await server.refused()) == count


async def test_credentials_that_fail_for_days_are_given_up_until_new_ones_are_given(
    ended: Keeping, server: AuthorizationServer
) -> None:
    await revoked(ended)
    for _ in range(4):
        with pytest.raises(CredentialsError):
            await ended.fresh()
        await ended.in_the_past(hours=25)
    tried = len(await server.refused())

    with pytest.raises(CredentialsError) as caught:
        await ended.fresh()

    assert caught.value.code == "connection_refresh_exhausted"
    assert tried == 4
    assert len(await server.refused()) == tried, "nothing was tried"
    await ended.give(await server.tokens(lifetime=ENDED))
    assert await ended.fresh() == await ended.stored()


async def deliveries(kept: Keeping) -> list[Any]:
    found = await kept.database.pool.fetch(
        "SELECT body FROM webhook_deliveries WHERE connection_key = $1 ORDER BY seq",
        kept.connection.key,
    )
    return [row["body"] for row in found]


async def test_the_application_is_told_once_a_day(
    ended: Keeping, server: AuthorizationServer
) -> None:
    await ended.database.webhook_settings.change(
        ended.connection.environment_id, {"primary_url": "https://app.example/hook"}
    )
    await server.fail(times=1)
    with pytest.raises(UpstreamError):
        await ended.fresh()
    assert await deliveries(ended) == [], "a server that is down is nobody's fault"
    await revoked(ended)

    for _ in range(3):
        await ended.in_the_past(seconds=31)
        with pytest.raises(CredentialsError):
            await ended.fresh()

    (told,) = await deliveries(ended)
    assert '"operation":"refresh"' in told
    assert '"success":false' in told
    assert '"type":"invalid_grant"' in told
    await ended.in_the_past(hours=25)
    with pytest.raises(CredentialsError):
        await ended.fresh()
    assert len(await deliveries(ended)) == 2


async def test_a_client_gets_its_first_token_and_the_next_when_that_has_ended(
    opens: Opens, server: AuthorizationServer
) -> None:
    credentials = {"type": "OAUTH2_CC", **server.client}
    async with opens(credentials, provider="loopback-oauth-cc") as kept:
        found = await asyncio.gather(*(kept.fresh() for _ in range(20)))

        assert len({one["token"] for one in found}) == 1
        assert await server.client_grants() == 1
        assert await kept.stored() == found[0]
        assert (await kept.fresh(force=True))["token"] != found[0]["token"]
        assert await server.client_grants() == 2


async def test_what_cannot_be_refreshed_is_used_as_it_is(
    opens: Opens, server: AuthorizationServer
) -> None:
    tokens = await server.tokens(lifetime=ENDED)
    del tokens["refresh_token"]
    async with opens(tokens) as kept:
        assert (await kept.fresh(force=True))["access_token"] == tokens["access_token"]
        refused = parse_credentials(await kept.stored())
        assert (await kept.fresh(refused=refused))["access_token"] == tokens["access_token"]


async def test_short_lived_tokens_are_used_for_half_of_their_life(
    database: Database, catalog: ProviderCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        authorization_server(token_seconds=600) as server,
        keeping(database, server, catalog, await server.tokens()) as kept,
    ):
        first = await kept.fresh()
        assert await kept.fresh() == first
        assert await server.refreshes() == 1, "how long it lives was not known before"

        later = utcnow() + timedelta(seconds=301)
        monkeypatch.setattr("activities.credential_keeper.utcnow", lambda: later)

        assert await kept.fresh() != first
        assert await server.refreshes() == 2


async def killed_between_answer_and_store(
    kept: Keeping, postgres: str, keys: str, providers: Path
) -> None:
    await kept.server.hold()
    asking = await process_that_asks(postgres, keys, providers, kept.connection, 5)
    await begin(asking)
    await kept.server.holding()
    await asking.kill()
    await kept.server.release()


async def test_a_process_that_is_killed_before_it_stores_what_it_got(
    database: Database,
    catalog: ProviderCatalog,
    postgres: str,
    keys: str,
    providers: Path,
) -> None:
    """It is survived where the provider takes the former refresh token for a while."""

    async def survived_with(leeway: int) -> None:
        async with (
            authorization_server(leeway_seconds=leeway) as server,
            keeping(database, server, catalog, await server.tokens(lifetime=ENDED)) as kept,
        ):
            before = await kept.stored()
            await killed_between_answer_and_store(kept, postgres, keys, providers)
            assert await kept.stored() == before

            found = await kept.fresh()
            assert found["refresh_token"] != before["refresh_token"]
            assert await kept.stored() == found
            assert await kept.fresh(force=True) != found

    async def refused_without() -> None:
        with pytest.raises(CredentialsError) as caught:
            await survived_with(0)
        assert caught.value.code == "invalid_credentials"

    # Both wait for the lease of the dead process to end.
    await asyncio.gather(survived_with(60), refused_without())
