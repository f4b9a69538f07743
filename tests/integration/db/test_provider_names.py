"""Integrations made before the plain names meant OAuth go on with their keys."""

from __future__ import annotations

from importlib import resources

import asyncpg

from perdure.providers.provider import AuthMode
from perdure.providers.provider_catalog import ProviderCatalog

BEFORE = ("hubspot", "intercom", "linear", "notion", "shopify", "slack", "stripe", "github-pat")


async def test_integrations_keep_the_way_they_authenticate(postgres: str) -> None:
    sql = resources.files("perdure.db.migrations").joinpath("sql", "0020_provider_names.sql")
    connection = await asyncpg.connect(postgres)
    try:
        transaction = connection.transaction()
        await transaction.start()
        environment = await connection.fetchval("SELECT min(id) FROM environments")
        if environment is None:
            environment = await connection.fetchval(
                "INSERT INTO environments (name) VALUES ('names') RETURNING id"
            )
        for provider in BEFORE:
            await connection.execute(
                "INSERT INTO integrations (environment_id, unique_key, provider, display_name) "
                "VALUES ($1, 'names-' || $2, $2, 'N')",
                environment,
                provider,
            )
        await connection.execute(sql.read_text())
        names = await connection.fetch(
            "SELECT provider FROM integrations WHERE unique_key LIKE 'names-%' ORDER BY id"
        )
        await transaction.rollback()
    finally:
        await connection.close()

    assert [row["provider"] for row in names] == [
        *(f"{provider}-api-key" for provider in BEFORE[:-1]),
        "github-pat",
    ]
    catalog = ProviderCatalog.load()
    assert all(catalog.get(row["provider"]).auth_mode is AuthMode.API_KEY for row in names)
