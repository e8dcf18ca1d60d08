-- +goose Up
CREATE TABLE webhooks (
  project       TEXT PRIMARY KEY REFERENCES projects(id) ON DELETE CASCADE,
  url           TEXT NOT NULL,
  secret        TEXT NOT NULL,               -- signs what is sent, so it cannot be a hash
  minimal       INTEGER NOT NULL,            -- milliseconds a run takes at least
  only_failures INTEGER NOT NULL,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE deliveries (
  id         TEXT PRIMARY KEY,               -- made from the run: each is told once
  project    TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  state      TEXT NOT NULL,                  -- pending done failed skipped
  body       BLOB NOT NULL,
  attempts   INTEGER NOT NULL,
  due        INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  at         INTEGER NOT NULL,               -- of the last attempt
  status     INTEGER NOT NULL,
  error      TEXT NOT NULL
) STRICT;
CREATE INDEX deliveries_due ON deliveries(state, due);
CREATE INDEX deliveries_of ON deliveries(project, created_at);

-- +goose Down
DROP TABLE deliveries; DROP TABLE webhooks;
