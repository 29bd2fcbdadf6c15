package config

import (
	"maps"
	"slices"
)

// DescribedKeys returns the keys that have a description.
func DescribedKeys() []string { return slices.Sorted(maps.Keys(descriptions())) }
