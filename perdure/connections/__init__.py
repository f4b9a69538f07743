"""Credentials of connections and the templates that use them: pure, without I/O."""
