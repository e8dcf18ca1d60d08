-- +goose Up
-- What a node serves is in its revisions; what it was until now is revision 1.
CREATE TABLE revisions (
  node          TEXT NOT NULL REFERENCES nodes(id) ON DELETE CASCADE,
  number        INTEGER NOT NULL,             -- from 1; none is given twice
  files         INTEGER NOT NULL,             -- the revision whose folder this one is served from: its own, or one with the same state
  checkpoint    TEXT NOT NULL,
  configuration TEXT NOT NULL,
  notebook      TEXT NOT NULL,
  cell          TEXT NOT NULL,
  source        TEXT NOT NULL,
  inputs        TEXT NOT NULL,                -- JSON
  outputs       TEXT NOT NULL,                -- JSON
  author        TEXT NOT NULL,                -- the person's name at the time; empty: not known
  note          TEXT NOT NULL,
  created_at    INTEGER NOT NULL,
  PRIMARY KEY (node, number)
) STRICT;
CREATE INDEX revisions_from ON revisions(checkpoint);
INSERT INTO revisions SELECT id, 1, 1, checkpoint, configuration, notebook, cell, source, inputs, outputs, '', '', created_at FROM nodes;

ALTER TABLE nodes ADD COLUMN current INTEGER NOT NULL DEFAULT 1; -- the revision that answers calls which name none
ALTER TABLE nodes ADD COLUMN last INTEGER NOT NULL DEFAULT 1;    -- the highest number given so far
ALTER TABLE nodes DROP COLUMN checkpoint;
ALTER TABLE nodes DROP COLUMN configuration;
ALTER TABLE nodes DROP COLUMN notebook;
ALTER TABLE nodes DROP COLUMN cell;
ALTER TABLE nodes DROP COLUMN source;
ALTER TABLE nodes DROP COLUMN inputs;
ALTER TABLE nodes DROP COLUMN outputs;

CREATE TABLE aliases (
  id         TEXT PRIMARY KEY,
  project    TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  current    INTEGER NOT NULL,                -- number of the setting in force
  created_at INTEGER NOT NULL,
  UNIQUE (project, name)
) STRICT;

-- What an alias led to, one row for each change.
CREATE TABLE settings (
  alias      TEXT NOT NULL REFERENCES aliases(id) ON DELETE CASCADE,
  number     INTEGER NOT NULL,                -- from 1
  targets    TEXT NOT NULL,                   -- JSON
  guard      TEXT NOT NULL,                   -- JSON
  public     INTEGER NOT NULL,
  author     TEXT NOT NULL,                   -- empty: the hub itself
  reason     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (alias, number)
) STRICT;

-- Keys of callers. The key that a node had is its first.
CREATE TABLE call_keys (
  id         TEXT PRIMARY KEY,
  project    TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  hash       BLOB NOT NULL UNIQUE,            -- SHA-256: keys are random, a slow hash adds nothing
  old_hash   BLOB NOT NULL,                   -- of before a rotation; empty: none
  old_until  INTEGER NOT NULL,
  scope      TEXT NOT NULL,                   -- JSON: IDs of nodes and aliases
  rate       REAL NOT NULL,                   -- calls a second; 0: no limit
  quota      INTEGER NOT NULL,                -- calls a day, in UTC; 0: no limit
  day        INTEGER NOT NULL,                -- days since 1970
  calls      INTEGER NOT NULL,                -- of that day
  used_at    INTEGER NOT NULL,
  author     TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX call_keys_of ON call_keys(project);
INSERT INTO call_keys SELECT 'first-' || id, project, 'first', key_hash, x'', 0, json_array(id), 0, 0, 0, 0, 0, '', created_at FROM nodes;
ALTER TABLE nodes DROP COLUMN key_hash;

-- +goose Down
CREATE TABLE nodes_old (
  id            TEXT PRIMARY KEY,
  project       TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  name          TEXT NOT NULL,
  checkpoint    TEXT NOT NULL,
  configuration TEXT NOT NULL,
  notebook      TEXT NOT NULL,
  cell          TEXT NOT NULL,
  source        TEXT NOT NULL,
  inputs        TEXT NOT NULL,
  outputs       TEXT NOT NULL,
  key_hash      BLOB NOT NULL,
  paused        INTEGER NOT NULL DEFAULT 0,
  created_at    INTEGER NOT NULL
) STRICT;
INSERT INTO nodes_old SELECT n.id, n.project, n.name, r.checkpoint, r.configuration, r.notebook, r.cell, r.source, r.inputs, r.outputs,
  coalesce((SELECT hash FROM call_keys k, json_each(k.scope) e WHERE e.value = n.id ORDER BY k.created_at LIMIT 1), x''), n.paused, n.created_at
  FROM nodes n JOIN revisions r ON r.node = n.id AND r.number = n.current;
DROP TABLE call_keys; DROP TABLE settings; DROP TABLE aliases; DROP TABLE revisions; DROP TABLE nodes;
ALTER TABLE nodes_old RENAME TO nodes;
