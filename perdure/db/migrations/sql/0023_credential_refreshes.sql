ALTER TABLE connections
    -- When the token ends; NULL where it never does, or nobody said.
    ADD COLUMN credentials_expires_at   timestamptz,
    -- Grows with each change of the credentials, whoever makes it.
    ADD COLUMN credentials_revision     bigint NOT NULL DEFAULT 1,
    -- When the credentials were last refreshed; NULL for those that somebody gave.
    ADD COLUMN credentials_refreshed_at timestamptz,
    -- What came of the last attempt to refresh them, where that failed.
    ADD COLUMN refresh_failure          jsonb CHECK (jsonb_typeof(refresh_failure) = 'object'),
    -- Who refreshes them at this moment; others may take over once its time is over.
    ADD COLUMN refresh_lease            uuid,
    ADD COLUMN refresh_lease_until      timestamptz,
    -- When it was last seen to that credentials which nobody uses stay alive.
    ADD COLUMN refresh_swept_at         timestamptz;

CREATE INDEX connections_by_expiry ON connections (credentials_expires_at)
 WHERE credentials_expires_at IS NOT NULL;
