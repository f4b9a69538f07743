"""What must be deterministic: one workflow a file, and the durable helper of the scripts."""
