"""Outbound HTTP: requests, pagination, retry decisions, authentication and the one transport.

Workflow code may import `requests`, `pagination` and `retry`, which are pure; `client` and
`transport` belong to activities.
"""
