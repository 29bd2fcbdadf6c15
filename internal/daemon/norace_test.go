//go:build !race

package daemon

import "time"

const wholeDay = 24 * time.Hour
