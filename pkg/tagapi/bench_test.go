package tagapi_test

import (
	"testing"

	"github.com/autotagd/autotagd/pkg/tagapi"
)

// What the first own call of a process costs.
func BenchmarkRead(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if tagapi.New().Lookup("iam", "iam:TagRole") == nil {
			b.Fatal("no such call")
		}
	}
}
