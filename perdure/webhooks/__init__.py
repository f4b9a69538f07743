"""Webhooks to the application: what they say, how they are signed, what an answer means. Pure."""
