// A real authorization server on loopback: it rotates refresh tokens and punishes their reuse.
//
// Options come as JSON in the first argument:
//   accessTokenSeconds  how long access tokens live
//   leewaySeconds       how long a refresh token that was used may be used again
//   redirectUris        where authorization codes may go
// The first line it prints is JSON with its `url`. It ends when its standard input does.
// What lies under /test/ lets tests look and interfere; the rest is oidc-provider as it is.

import http from "node:http";
import { once } from "node:events";
import { Provider } from "oidc-provider";

const options = {
  accessTokenSeconds: 5,
  leewaySeconds: 0,
  redirectUris: ["http://127.0.0.1/oauth/callback"],
  ...JSON.parse(process.argv[2] ?? "{}"),
};
const CLIENT = { client_id: "perdure", client_secret: "a-secret-of-the-test-client" };
const ACCOUNT = "user-1";
const SCOPE = "openid offline_access";

const stored = new Map();
const byGrant = new Map();

// In memory. The leeway is a matter of when a token counts as used.
class Adapter {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    stored.set(this.key(id), { ...payload });
    if (payload.grantId) {
      const keys = byGrant.get(payload.grantId) ?? new Set();
      byGrant.set(payload.grantId, keys.add(this.key(id)));
    }
  }

  async find(id) {
    const payload = stored.get(this.key(id));
    if (!payload?.usedAt) return payload;
    const isForgiven = Date.now() - payload.usedAt < options.leewaySeconds * 1000;
    return isForgiven ? payload : { ...payload, consumed: Math.floor(payload.usedAt / 1000) };
  }

  async findByUid(uid) {
    return [...stored.values()].find((payload) => payload.uid === uid);
  }

  async findByUserCode() {
    return undefined;
  }

  async consume(id) {
    stored.get(this.key(id)).usedAt ??= Date.now();
  }

  async destroy(id) {
    stored.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const key of byGrant.get(grantId) ?? []) stored.delete(key);
    byGrant.delete(grantId);
  }
}

const seen = { refreshes: 0, clientCredentials: 0, refused: [] };
let failing = { status: 503, times: 0 };
let gate = null;
let held = 0;

const server = http.createServer();
server.listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(url, {
  adapter: Adapter,
  clients: [
    {
      ...CLIENT,
      grant_types: ["authorization_code", "refresh_token", "client_credentials"],
      redirect_uris: options.redirectUris,
    },
  ],
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  issueRefreshToken: async () => true,
  rotateRefreshToken: true,
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    revocation: { enabled: true },
  },
  ttl: {
    AccessToken: options.accessTokenSeconds,
    ClientCredentials: options.accessTokenSeconds,
    RefreshToken: 3600,
    Grant: 3600,
  },
});
provider.on("grant.success", (ctx) => {
  const type = ctx.oidc.params.grant_type;
  if (type === "refresh_token") seen.refreshes += 1;
  if (type === "client_credentials") seen.clientCredentials += 1;
});
provider.on("grant.error", (_, error) => {
  seen.refused.push(`${error.error}: ${error.error_detail ?? error.error_description ?? ""}`);
});

// Inside of the provider's own handling: an answer that is held has been made, so that what the
// token request did is done.
provider.use(async (ctx, next) => {
  if (ctx.path !== "/token") return next();
  if (failing.times > 0) {
    failing.times -= 1;
    ctx.status = failing.status;
    ctx.body = { error: "temporarily_unavailable" };
    return undefined;
  }
  await next();
  if (gate !== null) {
    held += 1;
    await gate.promise;
    held -= 1;
  }
  return undefined;
});

async function tokens() {
  const grant = new provider.Grant({ accountId: ACCOUNT, clientId: CLIENT.client_id });
  grant.addOIDCScope(SCOPE);
  const grantId = await grant.save();
  const client = await provider.Client.find(CLIENT.client_id);
  const about = { accountId: ACCOUNT, client, grantId, gty: "authorization_code", scope: SCOPE };
  const access = new provider.AccessToken(about);
  const refresh = new provider.RefreshToken(about);
  return {
    access_token: await access.save(),
    refresh_token: await refresh.save(),
    expires_in: options.accessTokenSeconds,
  };
}

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return parts.length ? JSON.parse(Buffer.concat(parts).toString()) : {};
}

const hooks = {
  "/test/tokens": tokens,
  "/test/seen": async () => ({ ...seen, held }),
  "/test/fail": async (body) => {
    failing = { status: 503, times: 1_000_000, ...body };
    return {};
  },
  "/test/forget": async ({ token }) => {
    await (await provider.AccessToken.find(token)).destroy();
    return {};
  },
  "/test/forgive": async ({ seconds }) => {
    options.leewaySeconds = seconds;
    return {};
  },
  "/test/hold": async () => {
    gate ??= Promise.withResolvers?.() ?? deferred();
    return {};
  },
  "/test/release": async () => {
    gate?.resolve();
    gate = null;
    return {};
  },
};

function deferred() {
  const made = {};
  made.promise = new Promise((resolve) => {
    made.resolve = resolve;
  });
  return made;
}

const handle = provider.callback();
server.on("request", async (request, response) => {
  const hook = hooks[request.url];
  if (!hook) {
    handle(request, response);
    return;
  }
  const answer = await hook(await bodyOf(request));
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(answer));
});

process.stdin.resume().on("end", () => process.exit(0));
console.log(JSON.stringify({ url, ...CLIENT }));
