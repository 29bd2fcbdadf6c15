package awsclient

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/event"
)

// The server's side is a pipe, so that the timeouts pass in a bubble's time.
func attempt(t *testing.T, url string, serve func(net.Conn)) time.Duration {
	t.Helper()
	served := make(chan struct{})
	c := httpClient().WithTransportOptions(func(tr *http.Transport) {
		tr.Proxy = nil
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { theirs.Close() })
			go func() {
				defer close(served)
				serve(theirs)
			}()
			return ours, nil
		}
	}).Freeze()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	out, err := c.Do(r)
	if err == nil {
		_, err = io.Copy(io.Discard, out.Body)
		out.Body.Close()
	}
	if err == nil {
		t.Fatal("the attempt succeeded")
	}
	if timeout, ok := err.(interface{ Timeout() bool }); !ok || !timeout.Timeout() {
		t.Errorf("error %v is no timeout", err)
	}
	took := time.Since(start)
	<-served // or the bubble ends before its goroutines
	return took
}

func TestNoAttemptHangs(t *testing.T) {
	readRequest := func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			c.Close()
		}
	}
	cases := map[string]struct {
		url   string
		serve func(net.Conn)
		want  time.Duration
	}{
		"a server that never shakes hands": {"https://aws.test", func(net.Conn) {}, tlsTimeout},
		"a server that never answers":      {"http://aws.test", readRequest, headerTimeout},
		"a server that answers by drops": {"http://aws.test", func(c net.Conn) {
			readRequest(c)
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
			for err == nil {
				time.Sleep(time.Second)
				_, err = c.Write([]byte("."))
			}
		}, attemptTimeout},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := attempt(t, c.url, c.serve); got != c.want {
					t.Errorf("ended after %v, want %v", got, c.want)
				}
			})
		})
	}
	if got := httpClient().GetDialer().Timeout; got != dialTimeout {
		t.Errorf("dial timeout = %v, want %v", got, dialTimeout)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var servers []net.Conn
		c := httpClient().WithTransportOptions(func(tr *http.Transport) {
			tr.Proxy = nil
			tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				mu.Lock()
				defer mu.Unlock()
				servers = append(servers, theirs)
				return ours, nil
			}
		}).Freeze()
		ctx, cancel := context.WithCancel(t.Context())
		var requests sync.WaitGroup
		for range 2 * maxConnsPerHost {
			requests.Go(func() {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://aws.test", nil)
				if err != nil {
					t.Error(err)
					return
				}
				if out, err := c.Do(r); err == nil {
					out.Body.Close()
				}
			})
		}
		synctest.Wait() // every request is sent, or waits for a connection
		mu.Lock()
		open := len(servers)
		mu.Unlock()
		if open != maxConnsPerHost {
			t.Errorf("%d connections to one host, want %d", open, maxConnsPerHost)
		}
		cancel()
		requests.Wait()
		synctest.Wait()
		for _, s := range servers {
			s.Close()
		}
	})
}

// Behind one endpoint all accounts share the connections: there is one client a service, and one HTTP client for all.
func TestAllAccountsShareTheConnections(t *testing.T) {
	ids := []string{"111122223333", "444455556666", "777788889999"}
	config := fakeaws.Config{Accounts: ids, Latency: 50 * time.Millisecond}
	for _, id := range ids {
		config.Roles = append(config.Roles, fakeaws.Role{ARN: "arn:aws:iam::" + id + ":role/autotagd"})
	}
	srv := httptest.NewUnstartedServer(fakeaws.New(config).Handler())
	var opened atomic.Int64
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	clients, err := FromConfig(aws.Config{
		Region: fakeaws.DefaultRegion, BaseEndpoint: &srv.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}, Options{Version: "test", Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	var requests sync.WaitGroup
	for _, role := range config.Roles {
		a, err := clients.Assume(role.ARN, "")
		if err != nil {
			t.Fatal(err)
		}
		api, err := a.EC2(event.Scope{AccountID: a.ID, Region: fakeaws.DefaultRegion})
		if err != nil {
			t.Fatal(err)
		}
		for range maxConnsPerHost {
			requests.Go(func() {
				if _, err := api.DescribeTags(t.Context(), &ec2.DescribeTagsInput{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	requests.Wait()
	// A connection is closed when more are idle than are kept, and opened again; never are there more at a time.
	if n := opened.Load(); n < maxIdleConnsPerHost || n >= 2*maxConnsPerHost {
		t.Errorf("%d connections for %d calls, want about %d", n, len(ids)*maxConnsPerHost, maxConnsPerHost)
	}
}
