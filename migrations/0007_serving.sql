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
INSERT INTO nodes_old SELECT n.id, n.project, n.name, r.checkpoint, r.configuration, r.notebook, r.cell, r.source, r.inputs, r.outputs, n.key_hash, n.paused, n.created_at
  FROM nodes n JOIN revisions r ON r.node = n.id AND r.number = n.current;
DROP TABLE revisions;
DROP TABLE nodes;
ALTER TABLE nodes_old RENAME TO nodes;
