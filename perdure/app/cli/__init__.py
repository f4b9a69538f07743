"""The `perdure` command: thin commands over the HTTP API, and the entry points of the processes.

Every module here is quick to import; what is heavy (HTTP, pydantic, Temporal, Postgres) is imported
by the command that needs it.
"""
