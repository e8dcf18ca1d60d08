-- +goose Up
-- Keys of tenants and projects, sealed with the master key, which is not here.
CREATE TABLE keys (
	kind   TEXT NOT NULL, -- tenant, project
	id     TEXT NOT NULL,
	sealed BLOB NOT NULL,
	PRIMARY KEY (kind, id)
) STRICT;

-- The checkpoint that a kernel's present state came from; empty: none.
ALTER TABLE kernels ADD COLUMN base TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE kernels DROP COLUMN base;
DROP TABLE keys;
