// Copies the connections of one integration to another server, with their credentials.
// OLD_URL, OLD_KEY, NEW_URL and NEW_KEY say from where to where.
const { OLD_URL, OLD_KEY, NEW_URL, NEW_KEY } = process.env;
const [integration] = process.argv.slice(2);

async function call(server, key, method, path, body) {
    const answer = await fetch(server + path, {
        method,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: body && JSON.stringify(body)
    });
    const result = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${result.error?.code}`);
    return result;
}

const wanted = new URLSearchParams({ provider_config_key: integration, refresh_token: 'true' });
const { connections } = await call(OLD_URL, OLD_KEY, 'GET', `/connections?integrationId=${integration}`);
for (const { connection_id, provider_config_key } of connections) {
    const path = `/connections/${encodeURIComponent(connection_id)}?${wanted}`;
    const old = await call(OLD_URL, OLD_KEY, 'GET', path);
    const { credentials, metadata, connection_config, tags, end_user, webhook_url_override } = old;
    if (credentials.type === 'APP') credentials.installation_id ??= connection_config.installation_id;
    await call(NEW_URL, NEW_KEY, 'POST', '/connections', {
        provider_config_key, connection_id, credentials, metadata, connection_config, tags, end_user, webhook_url_override
    });
    console.log(`moved ${connection_id}`);
}
