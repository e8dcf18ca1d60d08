-- +goose Up
-- Clients move a new session onto a path that another one has: two pages that open a notebook at the same time.
CREATE TABLE sessions_new (
  id         TEXT PRIMARY KEY,
  project    TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  path       TEXT NOT NULL,
  name       TEXT NOT NULL,
  type       TEXT NOT NULL,
  kernel     TEXT NOT NULL REFERENCES kernels(id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL
) STRICT;
INSERT INTO sessions_new SELECT id, project, path, name, type, kernel, created_at FROM sessions;
DROP TABLE sessions;
ALTER TABLE sessions_new RENAME TO sessions;
CREATE INDEX sessions_of_project ON sessions (project, path);

-- +goose Down
CREATE TABLE sessions_old (
  id         TEXT PRIMARY KEY,
  project    TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  path       TEXT NOT NULL,
  name       TEXT NOT NULL,
  type       TEXT NOT NULL,
  kernel     TEXT NOT NULL REFERENCES kernels(id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  UNIQUE (project, path)
) STRICT;
INSERT OR IGNORE INTO sessions_old SELECT id, project, path, name, type, kernel, created_at FROM sessions ORDER BY created_at, id;
DROP TABLE sessions;
ALTER TABLE sessions_old RENAME TO sessions;
