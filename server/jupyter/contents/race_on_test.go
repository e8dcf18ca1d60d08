//go:build race

package contents_test

// underRace: the race detector makes every allocation larger, so that bytes taken say nothing of the product.
const underRace = true
