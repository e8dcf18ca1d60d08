//go:build !race

package contents_test

const underRace = false
