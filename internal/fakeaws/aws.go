// Package fakeaws is an AWS in the process, for the demo, for tests and for simulations.
//
// It speaks the wire protocols of the SDK for what autotagd calls: LookupEvents, EC2's CreateTags and descriptions, the
// tagging API, STS with roles and keys that expire, the organization's accounts and Regions, DynamoDB. Requests come in
// through HTTPClient, without a network and fit for a synctest bubble, or
// through Handler, over HTTP. It has AWS's own limits, delays and errors: LookupEvents answers twice a second in an account
// and Region, 50 events a page, newest first, and shows events minutes late and out of order; ids are unknown for a moment
// after creation; one unknown id fails a whole CreateTags. On top come faults that a test injects.
//
// Beside the API there is an account full of people (Create, Workload), and the truth about every resource in it: who made
// it, how, which tags were written when and by whom (Resources, Audit). The truth is stated by what makes the resources and
// shares no code with what is tested.
//
// Time is time.Now, so that in a bubble it is the bubble's.
package fakeaws

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/autotagd/autotagd/pkg/event"
)

// Config says what kind of AWS it is. The zero Config is one account in one Region with AWS's usual delays.
type Config struct {
	Seed     uint64
	Accounts []string // none: DefaultAccount
	Regions  []string // none: DefaultRegion
	// Visibility is the mean delay until LookupEvents shows an event; the most is six times that. 0 means DefaultVisibility,
	// a negative one that events show at once.
	Visibility time.Duration
	// Latency is the time an answer takes, on average; 0 means 8 ms, which is fast for AWS. A negative one means none.
	Latency time.Duration
	// Consistency is how long a new id may stay unknown to the other calls; each resource draws its own time up to that.
	Consistency time.Duration
	// ImageTime is how long an image stays pending, without its snapshots; 0 means 20 s.
	ImageTime time.Duration
	// TableTime is how long a new DynamoDB table is CREATING; 0 means 5 s, a negative one none.
	TableTime time.Duration
	// Duplicates is the probability that LookupEvents shows an event twice on a page.
	Duplicates float64
	// EmptyPages is the probability that a page of LookupEvents is empty, with a token that goes on.
	EmptyPages float64
	// Retention is how long events are kept; 0 means AWS's 90 days. Less saves memory in long simulations.
	Retention time.Duration
	// ClockOffset is how far AWS's clock is ahead of time.Now: minus that is how wrong our host's clock is.
	ClockOffset time.Duration
	// Showings has LookupEvents remember when it showed what (see Shown), and the records that it wrote for that: more memory
	// for less time.
	Showings bool
	// Limits replaces the request rates of operations, by name.
	Limits map[string]Limit
	// Caller is the ARN that GetCallerIdentity gives for the first account; "" means a role called autotagd.
	Caller string
	// OptIn has the accounts that enabled a Region, for Regions that are not enabled in all.
	OptIn map[string][]string
	// Roles can be assumed from the start: see SetRole.
	Roles []Role
	// Organization is the one that its members are in: see SetOrganization.
	Organization *Organization
}

// Limit is a token bucket.
type Limit struct {
	PerSecond float64
	Burst     int
}

// Defaults of a Config.
const (
	DefaultAccount    = "111122223333"
	DefaultRegion     = "eu-central-1"
	DefaultVisibility = 150 * time.Second
)

// defaultLimit is AWS's own request rate in one account and Region, as far as it is known.
func defaultLimit(op string) Limit {
	switch op {
	case "LookupEvents":
		return Limit{2, 2}
	case "CreateTags":
		return Limit{10, 100}
	case "TagResources":
		return Limit{5, 20}
	case "GetResources":
		return Limit{15, 30}
	case "ListAccounts", "ListAccountsForParent", "ListOrganizationalUnitsForParent", "ListRegions":
		return Limit{5, 8}
	case "Query", "GetItem", "PutItem", "UpdateItem", "DeleteItem", "BatchGetItem", "BatchWriteItem":
		return Limit{4000, 4000} // of a new table that is paid for by request
	default:
		return Limit{20, 100}
	}
}

// AWS is the fake. Its methods can be called from any goroutine.
type AWS struct {
	cfg Config

	mu       sync.Mutex // guards everything below; never held while waiting
	rng      *rand.Rand
	trails   map[event.Scope]*trail
	order    []*Resource
	byARN    map[string]*Resource
	byID     map[event.Scope]map[string]*Resource // EC2's, by id
	byParent map[string][]*Resource               // an instance's volumes and interfaces, an image's snapshots
	whos     map[Who]*Who
	buckets  map[bucketKey]*rate.Limiter
	calls    []Call
	faults   map[string]Faults
	ahead    atomic.Int64 // nanoseconds, beside cfg.ClockOffset
	scripted []*script
	shown    map[string][]time.Time // by event id, if cfg.Showings
	denied   map[denial]bool
	arnFails map[string]*arnFault
	hideIDs  bool
	tables   map[tableKey]*dynamoTable
	makers   map[string]maker
	names    map[string]int // how often a made-up name was used
	roles    map[string]Role
	keys     map[string]*key // those that expire, by id
	closed   map[string]bool // accounts
	org      *Organization
}

type bucketKey struct {
	scope event.Scope
	op    string
}

// New makes an AWS. It starts nothing: Workload does, if wanted.
func New(cfg Config) *AWS {
	if len(cfg.Accounts) == 0 {
		cfg.Accounts = []string{DefaultAccount}
	}
	if len(cfg.Regions) == 0 {
		cfg.Regions = []string{DefaultRegion}
	}
	if cfg.Visibility == 0 {
		cfg.Visibility = DefaultVisibility
	}
	if cfg.Latency == 0 {
		cfg.Latency = 8 * time.Millisecond
	}
	if cfg.ImageTime == 0 {
		cfg.ImageTime = 20 * time.Second
	}
	if cfg.TableTime == 0 {
		cfg.TableTime = 5 * time.Second
	}
	if cfg.Retention == 0 {
		cfg.Retention = 90 * 24 * time.Hour
	}
	a := &AWS{
		cfg:      cfg,
		rng:      rand.New(rand.NewPCG(cfg.Seed, 0x6175746f74616764)),
		trails:   make(map[event.Scope]*trail),
		byARN:    make(map[string]*Resource),
		byID:     make(map[event.Scope]map[string]*Resource),
		byParent: make(map[string][]*Resource),
		whos:     make(map[Who]*Who),
		buckets:  make(map[bucketKey]*rate.Limiter),
		faults:   make(map[string]Faults),
		shown:    make(map[string][]time.Time),
		denied:   make(map[denial]bool),
		arnFails: make(map[string]*arnFault),
		names:    make(map[string]int),
		tables:   make(map[tableKey]*dynamoTable),
		makers:   makers(),
		roles:    make(map[string]Role),
		keys:     make(map[string]*key),
		closed:   make(map[string]bool),
		org:      cfg.Organization,
	}
	for _, r := range cfg.Roles {
		a.roles[r.ARN] = r
	}
	return a
}

// Now is AWS's time.
func (a *AWS) Now() time.Time {
	return time.Now().Add(a.cfg.ClockOffset + time.Duration(a.ahead.Load()))
}

// Ahead has AWS's clock go ahead of ours by d more, as when our host was suspended for that long and its clocks with it.
func (a *AWS) Ahead(d time.Duration) { a.ahead.Add(int64(d)) }

// Scope returns the first account in its first Region.
func (a *AWS) Scope() event.Scope {
	return event.Scope{AccountID: a.cfg.Accounts[0], Region: a.cfg.Regions[0]}
}

// Scopes returns every account in every Region.
func (a *AWS) Scopes() []event.Scope {
	var out []event.Scope
	for _, account := range a.cfg.Accounts {
		for _, region := range a.cfg.Regions {
			out = append(out, event.Scope{AccountID: account, Region: region})
		}
	}
	return out
}

// HTTPClient returns what an SDK client takes as its HTTP client: requests never leave the process.
func (a *AWS) HTTPClient() *Client { return &Client{a} }

// Client answers requests in the process.
type Client struct{ aws *AWS }

// Do answers one request, after the latency that its answer has.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	ans, err := c.aws.serve(req.Context(), req)
	if err != nil {
		return nil, err
	}
	if ans.reset {
		return nil, fmt.Errorf("read tcp 127.0.0.1:443: %w", errReset)
	}
	response := &http.Response{
		Status: strconv.Itoa(ans.status) + " " + http.StatusText(ans.status), StatusCode: ans.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{
			"Content-Type": {ans.typ}, "Date": {c.aws.Now().UTC().Format(http.TimeFormat)},
			"X-Amzn-Requestid": {"00000000-0000-4000-8000-000000000000"},
		},
		ContentLength: int64(len(ans.body)),
		Body:          io.NopCloser(strings.NewReader(string(ans.body))),
	}
	for name, value := range ans.header {
		response.Header.Set(name, value)
	}
	return response, nil
}

// errReset stands for a connection that the other side broke. It is an io error, as the SDK's retryer expects one.
var errReset = fmt.Errorf("connection reset by peer: %w", io.ErrUnexpectedEOF)

// Handler returns the same AWS for a server: a child process takes its address as AWS_ENDPOINT_URL.
func (a *AWS) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ans, err := a.serve(req.Context(), req)
		if err != nil || ans.reset {
			panic(http.ErrAbortHandler) // breaks the connection
		}
		w.Header().Set("Content-Type", ans.typ)
		w.Header().Set("Date", a.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("X-Amzn-Requestid", "00000000-0000-4000-8000-000000000000")
		for name, value := range ans.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(ans.status)
		_, _ = w.Write(ans.body) // a client that is gone by now is its own business
	})
}

// serve waits as long as the answer takes and gives it. An error is the caller's context ending.
func (a *AWS) serve(ctx context.Context, req *http.Request) (answer, error) {
	c, bad := a.parse(req)
	if bad != nil {
		return *bad, a.sleep(ctx, a.latency())
	}
	fault := a.drawFault(c)
	if err := a.sleep(ctx, a.latency()/2); err != nil {
		return answer{}, err
	}
	ans := a.answer(c, fault)
	if c.service == "dynamodb" { // which alone sends it
		ans.header = map[string]string{"X-Amz-Crc32": strconv.FormatUint(uint64(crc32.ChecksumIEEE(ans.body)), 10)}
	}
	if err := a.sleep(ctx, a.latency()/2+fault.delay()); err != nil {
		return answer{}, err
	}
	return ans, nil
}

// answer does the call, or what a fault makes of it.
func (a *AWS) answer(c *call, fault Fault) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.now = a.Now()
	ans := a.decide(c, fault)
	outcome := ans.code
	if ans.reset {
		outcome = fault.String()
	}
	a.calls = append(a.calls, Call{Time: c.now, Scope: c.scope, Op: c.op, Action: c.action, Agent: c.agent, Error: outcome, Size: c.size()})
	return ans
}

// decide does the call under the lock.
func (a *AWS) decide(c *call, fault Fault) answer {
	switch fault {
	case Throttle:
		return c.throttled()
	case ServerError:
		return c.failure(503, "ServiceUnavailable", "The service is temporarily unavailable. Please try again.")
	case Reset:
		return answer{reset: true}
	case BadToken:
		c.badToken = true
	case Partial:
		c.partial = true
	}
	if !a.allow(c) {
		return c.throttled()
	}
	if bad := a.refused(c); bad != nil {
		return *bad
	}
	if a.isDenied(c.action, c.scope) {
		ans := a.refusal(c)
		if c.service != "dynamodb" {
			a.logCall(c, ans)
		}
		return ans
	}
	do := a.operation(c)
	if do == nil {
		return a.strange(c)
	}
	if c.form.Get("DryRun") == "true" {
		return ec2Error(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
	}
	ans := do(c)
	if c.service != "dynamodb" {
		a.logCall(c, ans)
	}
	if fault == LostAnswer {
		ans.reset = true
	}
	return ans
}

// refusal is the answer to a call without permission.
func (a *AWS) refusal(c *call) answer {
	message := "User: " + a.callerARN(c) + " is not authorized to perform: " + c.action + " because no identity-based policy allows the " + c.action + " action"
	switch c.service {
	case "ec2":
		return c.failure(403, "UnauthorizedOperation", "You are not authorized to perform this operation. "+message)
	case "sts", "iam":
		return c.failure(403, "AccessDenied", message)
	default:
		return c.failure(400, "AccessDeniedException", message)
	}
}

func (a *AWS) operation(c *call) func(*call) answer {
	if c.service == "dynamodb" {
		return a.dynamoOperation(c.op)
	}
	switch c.service + "." + c.op {
	case "cloudtrail.LookupEvents":
		return a.lookupEvents
	case "ec2.CreateTags":
		return a.createTags
	case "ec2.DescribeTags":
		return a.describeTags
	case "ec2.DescribeInstances":
		return a.describeInstances
	case "ec2.DescribeVolumes":
		return a.describeVolumes
	case "ec2.DescribeImages":
		return a.describeImages
	case "ec2.DescribeSnapshots":
		return a.describeSnapshots
	case "ec2.DescribeNetworkInterfaces":
		return a.describeNetworkInterfaces
	case "ec2.DescribeRegions":
		return a.describeRegions
	case "tagging.TagResources":
		return a.tagResources
	case "tagging.GetResources":
		return a.getResources
	case "apigateway.TagResource":
		return a.tagAPI
	case "apigateway.GetTags":
		return a.tagsOfAPI
	case "sts.GetCallerIdentity":
		return a.getCallerIdentity
	case "sts.AssumeRole":
		return a.assumeRole
	case "organizations.ListAccounts":
		return a.listAccounts
	case "organizations.ListAccountsForParent":
		return a.listAccountsForParent
	case "organizations.ListOrganizationalUnitsForParent":
		return a.listUnitsForParent
	case "account.ListRegions":
		return a.listRegions
	default:
		if c.service == "iam" && strings.HasPrefix(c.op, "List") && strings.HasSuffix(c.op, "Tags") {
			return a.listIAMTags
		}
		return nil
	}
}

func (c *call) throttled() answer {
	switch c.service {
	case "ec2":
		return c.failure(503, "RequestLimitExceeded", "Request limit exceeded.")
	case "tagging":
		return c.failure(400, "ThrottledException", "Rate exceeded")
	case "dynamodb":
		return c.failure(400, "ProvisionedThroughputExceededException", "The level of configured provisioned throughput for the table was exceeded.")
	case "sts", "iam":
		return c.failure(400, "Throttling", "Rate exceeded")
	case "organizations", "account":
		return c.failure(400, "TooManyRequestsException", "Rate exceeded")
	default:
		return c.failure(400, "ThrottlingException", "Rate exceeded")
	}
}

// allow takes a token from the operation's bucket.
func (a *AWS) allow(c *call) bool {
	k := bucketKey{c.scope, c.op}
	b := a.buckets[k]
	if b == nil {
		l, ok := a.cfg.Limits[c.op]
		if !ok {
			l = defaultLimit(c.op)
		}
		b = rate.NewLimiter(rate.Limit(l.PerSecond), l.Burst)
		a.buckets[k] = b
	}
	return b.AllowN(c.now, 1)
}

// Call is one request that came in.
type Call struct {
	Time  time.Time // AWS's
	Scope event.Scope
	Op    string
	// Action is what the caller needs IAM's permission for.
	Action string
	Agent  string
	Error  string // error code, or the fault that broke the connection; "" for success
	Size   int    // ids or ARNs in it
}

// Calls returns the calls of an operation, or all for "", in order.
func (a *AWS) Calls(op string) []Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	if op == "" {
		return slices.Clone(a.calls)
	}
	var out []Call
	for _, c := range a.calls {
		if c.Op == op {
			out = append(out, c)
		}
	}
	return out
}

func (a *AWS) latency() time.Duration {
	if a.cfg.Latency < 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Duration(float64(a.cfg.Latency) * (0.5 + a.rng.Float64()))
}

func (a *AWS) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// trail returns a Scope's trail. The caller holds the lock.
func (a *AWS) trail(s event.Scope) *trail {
	t := a.trails[s]
	if t == nil {
		t = newTrail(s)
		a.trails[s] = t
	}
	return t
}

// chance is true with probability p. The caller holds the lock.
func (a *AWS) chance(p float64) bool { return p > 0 && a.rng.Float64() < p }

// ErrUnknownEvent is what Create panics with for an event name that the fake cannot make.
var ErrUnknownEvent = errors.New("fakeaws: cannot make this event")
