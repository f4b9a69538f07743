"""The dashboard: pages for people, made of what the API tells whoever holds the same key."""
