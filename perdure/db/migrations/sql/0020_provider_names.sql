-- These names mean the provider by OAuth now; integrations made so far work with keys.
UPDATE integrations SET provider = provider || '-api-key'
WHERE provider IN ('hubspot', 'intercom', 'linear', 'notion', 'shopify', 'slack', 'stripe');
