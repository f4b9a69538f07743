"""What the engine knows of each provider's API: pure, without network."""
