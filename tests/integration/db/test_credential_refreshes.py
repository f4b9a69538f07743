"""Who refreshes credentials, and whose result is kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from perdure.clock import utcnow
from perdure.connections.refreshing import after_failure
from perdure.crypto.keyring import DecryptionError
from perdure.db.connections import Connection
from perdure.db.credential_refreshes import StoredCredentials
from perdure.db.database import Database
from perdure.errors import NotFoundError

TTL = timedelta(seconds=30)
OVER = timedelta(seconds=-1)


def tokens(number: int, lifetime: timedelta = timedelta(hours=1)) -> dict[str, str]:
    return {
        "type": "OAUTH2",
        "access_token": f"access-{number}",
        "refresh_token": f"refresh-{number}",
        "expires_at": (utcnow() + lifetime).isoformat(),
    }


async def give(db: Database, connection: Connection, number: int, **of: timedelta) -> Connection:
    given, _ = await db.connections.save(
        connection.environment_id,
        connection.integration,
        connection.connection_id,
        tokens(number, **of),
    )
    return given


@pytest.fixture
async def oauth(db: Database, connection: Connection) -> Connection:
    return await give(db, connection, 1)


async def put(
    db: Database, connection: Connection, lease: object, number: int, seen: StoredCredentials
) -> bool:
    return await db.credential_refreshes.store(
        connection,
        lease,
        tokens(number),
        of_revision=seen.revision,
        refreshed_at=utcnow(),
    )


async def refuse(
    db: Database, connection: Connection, lease: object, seen: StoredCredentials
) -> bool:
    failure = after_failure(
        seen.failure, id=str(uuid4()), lasting=True, code="c", message="m", now=utcnow()
    )
    async with db.transaction() as conn:
        return await db.credential_refreshes.fail(
            connection.key,
            lease,
            failure,
            of_revision=seen.revision,
            conn=conn,
        )


async def access_token(db: Database, connection: Connection) -> str:
    return str((await db.connections.credentials(connection))["access_token"])


async def test_it_is_known_when_credentials_end(db: Database, oauth: Connection) -> None:
    stored = await db.credential_refreshes.read(oauth)

    assert stored.credentials["refresh_token"] == "refresh-1"
    assert stored.expires_at is not None
    assert timedelta(minutes=59) < stored.expires_at - utcnow() <= timedelta(hours=1)
    assert (stored.refreshed_at, stored.failure) == (None, None)
    assert "refresh-1" not in repr(stored)


async def test_one_of_many_gets_the_lease(db: Database, oauth: Connection) -> None:
    seen = await db.credential_refreshes.read(oauth)

    taken = await asyncio.gather(
        *(db.credential_refreshes.acquire(oauth.key, uuid4(), seen, TTL) for _ in range(20))
    )

    assert taken.count(True) == 1


async def test_a_lease_that_ran_out_is_taken_over_and_one_that_is_prolonged_is_not(
    db: Database, oauth: Connection
) -> None:
    store = db.credential_refreshes
    seen = await store.read(oauth)
    first, second, third = uuid4(), uuid4(), uuid4()
    assert await store.acquire(oauth.key, first, seen, OVER)

    assert await store.acquire(oauth.key, second, seen, OVER)
    await store.prolong(oauth.key, first, TTL)
    await store.prolong(oauth.key, second, TTL)

    assert not await store.acquire(oauth.key, third, seen, TTL)
    await store.release(oauth.key, first)
    assert not await store.acquire(oauth.key, third, seen, TTL)
    await store.release(oauth.key, second)
    assert await store.acquire(oauth.key, third, seen, TTL)


async def test_nobody_refreshes_what_has_changed_since_it_was_looked_at(
    db: Database, oauth: Connection
) -> None:
    store = db.credential_refreshes
    seen = await store.read(oauth)
    lease = uuid4()
    await store.acquire(oauth.key, lease, seen, TTL)
    assert await put(db, oauth, lease, 2, seen)

    assert not await store.acquire(oauth.key, uuid4(), seen, TTL)

    again = await store.read(oauth)
    assert again.refreshed_at is not None
    assert again.credentials["refresh_token"] == "refresh-2"
    lease = uuid4()
    assert await store.acquire(oauth.key, lease, again, TTL)
    assert await refuse(db, oauth, lease, again)
    assert not await store.acquire(oauth.key, uuid4(), again, TTL), "a failure is a change, too"
    assert await store.acquire(oauth.key, uuid4(), await store.read(oauth), TTL)


async def test_credentials_that_somebody_gave_are_not_overwritten(
    db: Database, oauth: Connection
) -> None:
    store = db.credential_refreshes
    seen = await store.read(oauth)
    lease = uuid4()
    await store.acquire(oauth.key, lease, seen, TTL)

    await give(db, oauth, 7)

    assert not await put(db, oauth, lease, 2, seen)
    assert not await refuse(db, oauth, lease, seen)
    assert await access_token(db, oauth) == "access-7"
    assert await store.acquire(oauth.key, uuid4(), await store.read(oauth), TTL)


async def test_a_late_answer_is_kept_where_nobody_was_faster(
    db: Database, oauth: Connection
) -> None:
    store = db.credential_refreshes
    seen = await store.read(oauth)
    late, other = uuid4(), uuid4()
    await store.acquire(oauth.key, late, seen, OVER)
    await store.acquire(oauth.key, other, seen, TTL)

    assert await put(db, oauth, late, 2, seen)

    assert await access_token(db, oauth) == "access-2"
    # What the other one was told of the former refresh token says nothing about this one.
    assert not await refuse(db, oauth, other, seen)
    assert (await store.read(oauth)).failure is None


async def test_the_later_holder_has_the_newer_answer(db: Database, oauth: Connection) -> None:
    store = db.credential_refreshes
    seen = await store.read(oauth)
    late, other = uuid4(), uuid4()
    await store.acquire(oauth.key, late, seen, OVER)
    await store.acquire(oauth.key, other, seen, TTL)
    await put(db, oauth, late, 2, seen)

    assert await put(db, oauth, other, 3, seen)
    assert not await put(db, oauth, late, 2, seen)

    assert await access_token(db, oauth) == "access-3"


async def test_new_credentials_have_nothing_held_against_them(
    db: Database, oauth: Connection
) -> None:
    store = db.credential_refreshes
    seen = await store.read(oauth)
    lease = uuid4()
    await store.acquire(oauth.key, lease, seen, TTL)
    await refuse(db, oauth, lease, seen)
    known = await db.connections.by_key(oauth.key)
    assert known.refresh_failure is not None
    assert known.refresh_failure["code"] == "c"

    assert (await give(db, oauth, 2)).refresh_failure is None


async def test_what_is_stored_is_encrypted_and_bound_to_its_connection(
    db: Database, oauth: Connection
) -> None:
    store = db.credential_refreshes
    seen = await store.read(oauth)
    lease = uuid4()
    await store.acquire(oauth.key, lease, seen, TTL)
    await put(db, oauth, lease, 2, seen)
    sealed = await db.pool.fetchval("SELECT credentials FROM connections WHERE id = $1", oauth.key)
    assert b"refresh-2" not in sealed
    other, _ = await db.connections.save(
        oauth.environment_id, oauth.integration, "other", tokens(9)
    )

    await db.pool.execute(
        "UPDATE connections SET credentials = $2 WHERE id = $1", other.key, sealed
    )

    with pytest.raises(DecryptionError):
        await store.read(other)


async def test_a_connection_that_is_gone_is_unknown(db: Database, oauth: Connection) -> None:
    seen = await db.credential_refreshes.read(oauth)
    await db.connections.delete(oauth.environment_id, oauth.integration, oauth.connection_id)

    with pytest.raises(NotFoundError):
        await db.credential_refreshes.read(oauth)
    assert not await put(db, oauth, uuid4(), 2, seen)


async def test_idle_credentials_come_up_once(db: Database, oauth: Connection) -> None:
    """Those that have ended, and that nobody has refreshed for a day."""
    await give(db, oauth, 2, lifetime=timedelta(seconds=-1))
    await db.connections.save(oauth.environment_id, oauth.integration, "endless", {"type": "NONE"})
    await db.connections.save(oauth.environment_id, oauth.integration, "good", tokens(3))

    async def claimed(ago: timedelta) -> list[str]:
        now = utcnow()
        found = await db.credential_refreshes.claim_idle(
            expire_before=now, untouched_since=now - ago, now=now, limit=10_000
        )
        return [one.connection_id for one in found if one.integration_id == oauth.integration_id]

    assert await claimed(timedelta(days=1)) == []
    assert await claimed(timedelta()) == [oauth.connection_id]
    assert await claimed(timedelta(hours=1)) == []
