// Package migrations carries the database's schema, one file per step.
package migrations

import "embed"

// Files holds NNNN_*.sql in goose's form.
//
//go:embed *.sql
var Files embed.FS
