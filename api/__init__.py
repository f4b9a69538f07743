"""The REST API: thin routers over the repositories and Temporal."""
