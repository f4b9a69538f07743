"""Everything that is kept in Postgres; the only package that speaks SQL."""
