"""Environments, bundles and deployments."""

from __future__ import annotations

from uuid import uuid4

import pytest

from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.errors import ConflictError, NotFoundError, UnauthorizedError
from perdure.ids import BundleHash, EnvironmentId


def some_hash() -> BundleHash:
    return BundleHash(uuid4().hex * 2)


async def test_a_secret_key_opens_its_environment(db: Database) -> None:
    name, key = f"env-{uuid4().hex}", str(uuid4())

    environment = await db.environments.ensure(name, key)

    assert environment.name == name
    assert environment.active_bundle is None
    assert await db.environments.by_secret_key(key) == environment
    assert await db.environments.by_name(name) == environment
    assert await db.environments.by_id(environment.id) == environment
    assert environment in await db.environments.all()


async def test_another_key_opens_nothing(db: Database) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        await db.environments.by_secret_key(str(uuid4()))

    assert caught.value.code == "unknown_account"


async def test_the_secret_key_is_not_in_the_table(db: Database) -> None:
    name, key = f"env-{uuid4().hex}", str(uuid4())
    await db.environments.ensure(name, key)

    row = await db.pool.fetchval("SELECT e::text FROM environments e WHERE name = $1", name)

    assert key not in row
    assert key.encode().hex() not in row


async def test_an_environment_keeps_its_id_when_its_key_changes(db: Database) -> None:
    name, old, new = f"env-{uuid4().hex}", str(uuid4()), str(uuid4())
    first = await db.environments.ensure(name, old)

    second = await db.environments.ensure(name, new)

    assert second == first
    assert await db.environments.by_secret_key(new) == first
    with pytest.raises(UnauthorizedError):
        await db.environments.by_secret_key(old)


async def test_two_environments_cannot_share_a_key(db: Database) -> None:
    key = str(uuid4())
    await db.environments.ensure(f"env-{uuid4().hex}", key)

    with pytest.raises(ConflictError) as caught:
        await db.environments.ensure(f"env-{uuid4().hex}", key)

    assert caught.value.code == "secret_key_taken"


async def test_an_environment_that_is_not_there_is_named(db: Database) -> None:
    with pytest.raises(NotFoundError, match="'nowhere'") as caught:
        await db.environments.by_name("nowhere")

    assert caught.value.code == "unknown_environment"
    with pytest.raises(NotFoundError):
        await db.environments.by_id(EnvironmentId(2**60))


async def test_a_bundle_comes_back_as_it_was_stored(db: Database) -> None:
    bundle_hash = some_hash()
    files = {"b.py": "x = '\0\ud83e'\n", "a.py": "# ü\n"}
    config = {"syncs": {"z": 1, "a": 2}, "limit": 2**70}

    await db.bundles.put(bundle_hash, files, config)

    stored = await db.bundles.get(bundle_hash)
    assert stored.hash == bundle_hash
    assert list(stored.files.items()) == list(files.items())
    assert stored.config == config
    assert list(stored.config["syncs"]) == ["z", "a"]


async def test_a_bundle_never_changes(db: Database) -> None:
    bundle_hash = some_hash()
    await db.bundles.put(bundle_hash, {"a.py": "1"}, {})

    await db.bundles.put(bundle_hash, {"a.py": "2"}, {})

    assert (await db.bundles.get(bundle_hash)).files == {"a.py": "1"}


async def test_a_bundle_that_is_not_there_is_named(db: Database, environment: Environment) -> None:
    missing = some_hash()

    with pytest.raises(NotFoundError) as caught:
        await db.bundles.get(missing)
    assert caught.value.code == "unknown_bundle"

    with pytest.raises(NotFoundError) as caught:
        await db.bundles.deploy(environment.id, missing)
    assert caught.value.code == "unknown_bundle"
    assert await db.bundles.deployments(environment.id) == []


async def test_the_bundle_deployed_last_is_the_active_one(
    db: Database, environment: Environment
) -> None:
    first, second = some_hash(), some_hash()
    for bundle_hash in (first, second):
        await db.bundles.put(bundle_hash, {}, {"hash": bundle_hash})
    assert await db.bundles.active(environment.id) is None

    for bundle_hash in (first, second, first):
        await db.bundles.deploy(environment.id, bundle_hash)

    active = await db.bundles.active(environment.id)
    assert active is not None
    assert active.config == {"hash": first}
    assert (await db.environments.by_id(environment.id)).active_bundle == first
    history = await db.bundles.deployments(environment.id)
    assert [deployment.bundle_hash for deployment in history] == [first, second, first]
    assert len(await db.bundles.deployments(environment.id, limit=2)) == 2


async def test_deploying_to_an_environment_that_is_gone_says_so(db: Database) -> None:
    bundle_hash = some_hash()
    await db.bundles.put(bundle_hash, {}, {})

    with pytest.raises(NotFoundError) as caught:
        await db.bundles.deploy(EnvironmentId(2**60), bundle_hash)

    assert caught.value.code == "unknown_environment"
