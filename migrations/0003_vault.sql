-- +goose Up
-- Keys of tenants and projects, sealed with the master key, which is not here.
CREATE TABLE keys (
  kind   TEXT NOT NULL,                      -- tenant project
  id     TEXT NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT;

ALTER TABLE checkpoints ADD COLUMN stored INTEGER NOT NULL DEFAULT 0; -- in the vault; its folder may be gone

-- +goose Down
ALTER TABLE checkpoints DROP COLUMN stored;
DROP TABLE keys;
