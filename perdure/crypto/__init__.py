"""Encryption of what must not be readable in the database or in a workflow history."""
