package awsclient_test

import (
	"os"
	"testing"

	"github.com/autotagd/autotagd/internal/awsclient"
)

// BenchmarkNew is what reading the configuration and making the clients adds to a start. No call is made.
func BenchmarkNew(b *testing.B) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		b.Setenv(name, value)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := awsclient.New(b.Context(), options(nil)); err != nil {
			b.Fatal(err)
		}
	}
}
