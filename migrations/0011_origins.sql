-- +goose Up
-- What machines checkpoints were made on, as far as their processes depend on it.
CREATE TABLE origins (
  id   TEXT PRIMARY KEY,
  body TEXT NOT NULL -- JSON: processor, operating system's kernel, CRIU
) STRICT;
ALTER TABLE checkpoints ADD COLUMN origin TEXT NOT NULL DEFAULT ''; -- empty: not known
ALTER TABLE checkpoints ADD COLUMN cell TEXT NOT NULL DEFAULT '';       -- the last that had ended, JSON; empty: none

-- +goose Down
ALTER TABLE checkpoints DROP COLUMN cell;
ALTER TABLE checkpoints DROP COLUMN origin;
DROP TABLE origins;
