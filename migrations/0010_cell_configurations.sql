-- +goose Up
-- A cell may ask for a configuration of its own: home is the one that the kernel goes back to afterwards.
ALTER TABLE kernels ADD COLUMN home TEXT NOT NULL DEFAULT ''; -- empty: it has its own

-- +goose Down
ALTER TABLE kernels DROP COLUMN home;
