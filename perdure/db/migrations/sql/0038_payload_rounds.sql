-- How far a round through the runs is whose payloads must stay: see activities.payload_sweep. No row
-- where none is under way.
CREATE TABLE payload_rounds (
    lasting boolean     PRIMARY KEY,
    -- Runs that began before are looked through.
    began   timestamptz NOT NULL,
    -- Those of them that began since then were.
    until   timestamptz NOT NULL
);
