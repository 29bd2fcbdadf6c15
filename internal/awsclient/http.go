package awsclient

import (
	"net"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// The limits of one attempt. An answer of LookupEvents can take seconds; none takes half a minute.
const (
	dialTimeout    = 5 * time.Second
	tlsTimeout     = 5 * time.Second
	headerTimeout  = 20 * time.Second // from the end of the request to the answer's header
	attemptTimeout = 30 * time.Second // the whole of it, waiting for a connection and reading the body included
	idleTimeout    = 90 * time.Second

	// A Region's service is a host of its own, and one process makes a handful of calls a second at each. Only a proxy or a
	// test server behind AWS_ENDPOINT_URL sees all of them.
	maxConnsPerHost     = 64
	maxIdleConnsPerHost = 8
	maxIdleConns        = 256
)

// httpClient returns a client whose every attempt ends within attemptTimeout. The SDK may add AWS_CA_BUNDLE to it, and
// shortens it for the metadata service, so it must be of this type.
func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(attemptTimeout). // of http.Client: its error counts as a failed attempt, unlike a context that ended
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = tlsTimeout
			t.ResponseHeaderTimeout = headerTimeout
			t.IdleConnTimeout = idleTimeout
			t.MaxConnsPerHost = maxConnsPerHost
			t.MaxIdleConnsPerHost = maxIdleConnsPerHost
			t.MaxIdleConns = maxIdleConns
		})
}
