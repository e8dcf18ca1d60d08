-- +goose Up
ALTER TABLE checkpoints ADD COLUMN files TEXT NOT NULL DEFAULT ''; -- what is kept of the project's files, as JSON; '': nothing

-- +goose Down
ALTER TABLE checkpoints DROP COLUMN files;
