-- +goose Up
CREATE TABLE users (
  id            TEXT PRIMARY KEY,
  name          TEXT NOT NULL UNIQUE,
  admin         INTEGER NOT NULL DEFAULT 0,
  password_hash TEXT NOT NULL DEFAULT '',     -- argon2id in PHC form; empty: no password yet
  created_at    INTEGER NOT NULL              -- all times: milliseconds since 1970
) STRICT;

CREATE TABLE tokens (
  id         TEXT PRIMARY KEY,
  user       TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  hash       BLOB NOT NULL UNIQUE,            -- SHA-256 of the token: it is random, a slow hash adds nothing
  name       TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  used_at    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE logins (
  hash       BLOB PRIMARY KEY,
  user       TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

-- The highest range of user IDs given so far: none is given twice, as files of
-- a deleted project may still be somewhere.
CREATE TABLE ranges (last_uid_base INTEGER NOT NULL) STRICT;
INSERT INTO ranges VALUES (0);

CREATE TABLE projects (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  owner      TEXT NOT NULL REFERENCES users(id),
  uid_base   INTEGER NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE kernels (
  id            TEXT PRIMARY KEY,
  project       TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  spec          TEXT NOT NULL,                -- kernelspec's name
  image         TEXT NOT NULL,                -- reference@digest it was started from
  dir           TEXT NOT NULL DEFAULT '',     -- working folder below the project's files
  configuration TEXT NOT NULL,
  state         TEXT NOT NULL,
  detail        TEXT NOT NULL DEFAULT '',     -- why it is in that state, for the person
  incarnation   INTEGER NOT NULL DEFAULT 0,
  container     TEXT NOT NULL DEFAULT '',     -- empty: nothing runs
  journal       TEXT NOT NULL DEFAULT '',     -- folder of the present lineage's journal
  parts         TEXT NOT NULL DEFAULT '',     -- version of keeper and support files in it
  acked         INTEGER NOT NULL DEFAULT 0,   -- journal records up to this seq are done with
  checkpoint    TEXT NOT NULL DEFAULT '',     -- hibernated: the one to resume from
  address       INTEGER NOT NULL DEFAULT 0,   -- number in the kernels' network
  created_at    INTEGER NOT NULL,
  active_at     INTEGER NOT NULL,
  since         INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
  id         TEXT PRIMARY KEY,
  project    TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  path       TEXT NOT NULL,
  name       TEXT NOT NULL,
  type       TEXT NOT NULL,
  kernel     TEXT NOT NULL REFERENCES kernels(id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  UNIQUE (project, path)
) STRICT;

CREATE TABLE checkpoints (
  id         TEXT PRIMARY KEY,
  project    TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  kernel     TEXT NOT NULL,
  parent     TEXT NOT NULL DEFAULT '',
  name       TEXT NOT NULL,
  kind       TEXT NOT NULL,                   -- auto manual hibernate switch rollback publish
  notebook   TEXT NOT NULL DEFAULT '',
  size       INTEGER NOT NULL,
  added      INTEGER NOT NULL,
  image      TEXT NOT NULL,
  parts      TEXT NOT NULL,
  seq        INTEGER NOT NULL,                -- last journal record seen before it was taken
  pinned     INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX checkpoints_of ON checkpoints(project, kernel, created_at);

CREATE TABLE nodes (
  id            TEXT PRIMARY KEY,
  project       TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  name          TEXT NOT NULL,
  checkpoint    TEXT NOT NULL,
  configuration TEXT NOT NULL,
  notebook      TEXT NOT NULL,
  cell          TEXT NOT NULL,
  source        TEXT NOT NULL,
  inputs        TEXT NOT NULL,                -- JSON
  outputs       TEXT NOT NULL,                -- JSON
  key_hash      BLOB NOT NULL,
  paused        INTEGER NOT NULL DEFAULT 0,
  created_at    INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE nodes; DROP TABLE checkpoints; DROP TABLE sessions; DROP TABLE kernels;
DROP TABLE projects; DROP TABLE ranges; DROP TABLE logins; DROP TABLE tokens; DROP TABLE users;
