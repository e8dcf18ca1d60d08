-- +goose Up
-- A notebook, or what a checkpoint has, shown to others by a link. One that is
-- revoked has no row.
CREATE TABLE shares (
  id         TEXT PRIMARY KEY,
  project    TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  checkpoint TEXT REFERENCES checkpoints(id) ON DELETE CASCADE, -- NULL: the notebook as it is when it is looked at
  hash       BLOB NOT NULL UNIQUE,            -- SHA-256 of the link's secret
  name       TEXT NOT NULL,
  notebook   TEXT NOT NULL,
  audience   TEXT NOT NULL,                   -- anyone, people, named
  people     TEXT NOT NULL,                   -- JSON: IDs of the named
  copies     TEXT NOT NULL,                   -- what a copy has: notebook, files, state
  author     TEXT NOT NULL,                   -- the person's name at the time
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,                -- 0: never
  opened_at  INTEGER NOT NULL,                -- last; 0: never
  opened     INTEGER NOT NULL                 -- how often
) STRICT;
CREATE INDEX shares_of ON shares(project);

-- A project that began with somebody else's kernel or packages: what its kernels say
-- is not its owner's own doing.
ALTER TABLE projects ADD COLUMN foreign_state INTEGER NOT NULL DEFAULT 0;

-- +goose Down
DROP TABLE shares;
ALTER TABLE projects DROP COLUMN foreign_state;
