"""How Perdure speaks to Temporal: names, policies, payloads, encryption, the client."""
