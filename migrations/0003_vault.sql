-- +goose Up
-- Keys of tenants and projects, sealed with the master key, which is not here.
CREATE TABLE keys (
  kind   TEXT NOT NULL,                      -- tenant project
  id     TEXT NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT;

ALTER TABLE checkpoints ADD COLUMN stored INTEGER NOT NULL DEFAULT 0; -- in the vault; its folder may be gone

ALTER TABLE kernels ADD COLUMN base TEXT NOT NULL DEFAULT ''; -- the checkpoint that its state came from last

-- +goose Down
ALTER TABLE kernels DROP COLUMN base;
ALTER TABLE checkpoints DROP COLUMN stored;
DROP TABLE keys;
