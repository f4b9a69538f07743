"""How connections come by tokens: consent, exchange, refresh, and tokens that are made here."""
