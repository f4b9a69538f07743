-- What an entry of the providers catalogue asks for once for all connections of an integration, and
-- what clients keep with it.
ALTER TABLE integrations
    ADD COLUMN integration_config jsonb NOT NULL DEFAULT '{}'
        CHECK (jsonb_typeof(integration_config) = 'object'),
    ADD COLUMN custom jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(custom) = 'object');
