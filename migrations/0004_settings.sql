-- +goose Up
ALTER TABLE projects ADD COLUMN autosave TEXT NOT NULL DEFAULT '';  -- cell idle off; '': the operator's
ALTER TABLE projects ADD COLUMN idle INTEGER NOT NULL DEFAULT 0;    -- seconds; 0: the operator's
ALTER TABLE kernels ADD COLUMN awake_until INTEGER NOT NULL DEFAULT 0; -- Unix milliseconds; 0: not asked for

-- +goose Down
ALTER TABLE kernels DROP COLUMN awake_until;
ALTER TABLE projects DROP COLUMN idle;
ALTER TABLE projects DROP COLUMN autosave;
