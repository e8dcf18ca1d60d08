-- +goose Up
-- What held a configuration, from when on: one row is added just before the compute is taken. Nothing
-- here is ever changed or removed, and nothing refers to rows that may be: a bill outlives its project.
CREATE TABLE holdings (
  id            INTEGER PRIMARY KEY,
  holder        TEXT NOT NULL,                -- what holds one at a time: a kernel's ID, else the container
  container     TEXT NOT NULL,
  kind          TEXT NOT NULL,                -- kernel, node, terminal
  node          TEXT NOT NULL,                -- ID of the node, for its instances; else empty
  project       TEXT NOT NULL,
  owner         TEXT NOT NULL,                -- ID of the person who owned the project then
  configuration TEXT NOT NULL,
  price         INTEGER NOT NULL CHECK (price >= 0), -- thousandths of a unit per second
  why           TEXT NOT NULL,
  by            TEXT NOT NULL,                -- name of who had it done; empty: the hub
  boot          TEXT NOT NULL,                -- which start of the machine
  tick          INTEGER NOT NULL,             -- milliseconds of the machine's own clock, which never steps, in that start
  began         INTEGER NOT NULL              -- milliseconds since 1970, by the clock on the wall
) STRICT;
CREATE INDEX holdings_of ON holdings(holder, id);
CREATE INDEX holdings_began ON holdings(began);
CREATE INDEX holdings_project ON holdings(project, began);

-- When it was let go of. The end lies as far from the beginning as the machine's own clock says.
CREATE TABLE releases (
  holding  INTEGER PRIMARY KEY REFERENCES holdings(id),
  ended    INTEGER NOT NULL,                  -- milliseconds since 1970
  units    INTEGER NOT NULL CHECK (units >= 0), -- millionths: milliseconds held times the price
  why      TEXT NOT NULL,
  inferred INTEGER NOT NULL                   -- 1: nobody saw the end; it is the last moment of which there is a proof
) STRICT;
CREATE INDEX releases_ended ON releases(ended);

-- +goose StatementBegin
CREATE TRIGGER holdings_one BEFORE INSERT ON holdings
WHEN EXISTS (SELECT 1 FROM holdings h LEFT JOIN releases r ON r.holding = h.id
  WHERE h.id = (SELECT MAX(id) FROM holdings WHERE holder = NEW.holder) AND (r.holding IS NULL OR h.boot = NEW.boot AND h.tick + r.ended - h.began > NEW.tick))
BEGIN SELECT RAISE(ABORT, 'it holds a configuration at that moment already'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER releases_right BEFORE INSERT ON releases
WHEN NOT EXISTS (SELECT 1 FROM holdings WHERE id = NEW.holding AND NEW.ended >= began AND NEW.units = (NEW.ended - began) * price)
BEGIN SELECT RAISE(ABORT, 'the end does not fit the beginning'); END;
-- +goose StatementEnd
CREATE TRIGGER holdings_stay BEFORE UPDATE ON holdings BEGIN SELECT RAISE(ABORT, 'the ledger is only added to'); END;
CREATE TRIGGER holdings_kept BEFORE DELETE ON holdings BEGIN SELECT RAISE(ABORT, 'the ledger is only added to'); END;
CREATE TRIGGER releases_stay BEFORE UPDATE ON releases BEGIN SELECT RAISE(ABORT, 'the ledger is only added to'); END;
CREATE TRIGGER releases_kept BEFORE DELETE ON releases BEGIN SELECT RAISE(ABORT, 'the ledger is only added to'); END;

-- What may be spent, in millionths of a unit; 0: no limit.
CREATE TABLE project_limits (
  id    TEXT PRIMARY KEY REFERENCES projects(id) ON DELETE CASCADE,
  run   INTEGER NOT NULL,
  hour  INTEGER NOT NULL,
  day   INTEGER NOT NULL,
  month INTEGER NOT NULL
) STRICT;
CREATE TABLE user_limits (
  id    TEXT PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  run   INTEGER NOT NULL,
  hour  INTEGER NOT NULL,
  day   INTEGER NOT NULL,
  month INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE user_limits; DROP TABLE project_limits; DROP TABLE releases; DROP TABLE holdings;
