package awsclient_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/event"
)

const (
	member  = "444455556666"
	another = "777788889999"
)

func roleIn(account string) string { return "arn:aws:iam::" + account + ":role/autotagd" }

// world is clients of a fake AWS with three accounts, the first of which is that of the credentials.
type world struct {
	*testing.T
	cloud   *fakeaws.AWS
	clients *awsclient.Clients
	logs    *observer.ObservedLogs

	mu   sync.Mutex
	seen []*http.Request
}

// Do implements aws.HTTPClient.
func (w *world) Do(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.seen = append(w.seen, r)
	w.mu.Unlock()
	return w.cloud.HTTPClient().Do(r)
}

// newWorld has roles called autotagd in both members, unless cfg has roles of its own. base nil is a key that never expires.
func newWorld(t *testing.T, cfg fakeaws.Config, base func(*fakeaws.AWS) aws.CredentialsProvider) *world {
	t.Helper()
	cfg.Accounts = []string{accountID, member, another}
	if cfg.Regions == nil {
		cfg.Regions = []string{"eu-west-1", "us-east-1"}
	}
	if cfg.Roles == nil {
		cfg.Roles = []fakeaws.Role{{ARN: roleIn(member)}, {ARN: roleIn(another)}}
	}
	w := &world{T: t, cloud: fakeaws.New(cfg)}
	var provider aws.CredentialsProvider = credentials.NewStaticCredentialsProvider(fakeaws.AccessKey(accountID), "secret", "")
	if base != nil {
		provider = base(w.cloud)
	}
	core, logs := observer.New(zap.WarnLevel)
	clients, err := awsclient.FromConfig(aws.Config{Region: cfg.Regions[0], Credentials: provider}, awsclient.Options{Version: "1.2.3", Log: zap.New(core), HTTP: w})
	if err != nil {
		t.Fatal(err)
	}
	w.clients, w.logs = clients, logs
	return w
}

func (w *world) assume(role, externalID string) *awsclient.Account {
	w.Helper()
	a, err := w.clients.Assume(role, externalID)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// call makes one call in the account.
func (w *world) call(ctx context.Context, a *awsclient.Account) error {
	w.Helper()
	api, err := a.EC2(event.Scope{AccountID: a.ID, Region: w.clients.Region()})
	if err != nil {
		w.Fatal(err)
	}
	_, err = api.DescribeTags(ctx, &ec2.DescribeTagsInput{})
	return err
}

// works fails the test unless a call in the account succeeds.
func (w *world) works(a *awsclient.Account) {
	w.Helper()
	if err := w.call(w.Context(), a); err != nil {
		w.Errorf("account %s: %v", a.ID, err)
	}
}

// refusedRole checks that err is of the role, and looks like nothing else.
func refusedRole(t *testing.T, err error, role string) *awsclient.RoleError {
	t.Helper()
	var failed *awsclient.RoleError
	if !errors.As(err, &failed) {
		t.Fatalf("error = %v, want a RoleError", err)
	}
	var api smithy.APIError
	var status interface{ HTTPStatusCode() int }
	if errors.As(failed, &api) || errors.As(failed, &status) || errors.As(err, &api) || errors.As(err, &status) {
		t.Errorf("error %v can be taken for an answer of the service", err)
	}
	if failed.RoleARN != role || failed.AccountID != strings.Split(role, ":")[4] {
		t.Errorf("error is of %s in %s, want %s", failed.RoleARN, failed.AccountID, role)
	}
	text := awsclient.Explain(err).Error()
	for _, want := range []string{role, failed.AccountID, "AssumeRole"} {
		if !strings.Contains(text, want) || strings.Contains(text, "\n") || strings.Contains(text, "cache") {
			t.Errorf("error %q lacks %q, or has more than one line, or the SDK's inner life", text, want)
		}
	}
	return failed
}

func TestARoleIsAssumedByTheFirstCallAndByThatAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakeaws.Config{}, nil)
		a := w.assume("arn:aws:iam::444455556666:role/autotagd", "")
		if a.ID != member || a.ARN != "arn:aws:sts::444455556666:assumed-role/autotagd/autotagd" {
			t.Errorf("account %s as %s", a.ID, a.ARN)
		}
		if n := len(w.seen); n != 0 {
			t.Errorf("%d calls before the first", n)
		}
		scope := event.Scope{AccountID: member, Region: "us-east-1"}
		made := w.cloud.Create(scope, "CreateRestApi", fakeaws.IAMUser("ann"), fakeaws.Spec{}).Resources[0].ARN
		time.Sleep(time.Minute)
		tagAPI := calls.Lookup("apigateway", "apigateway:TagResource")
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				for name, err := range everyCall(t.Context(), t, a, scope) {
					var api smithy.APIError // of what it asks for: it was understood
					if err != nil && (!errors.As(err, &api) || strings.Contains(api.ErrorCode(), "Token")) {
						t.Errorf("%s: %v", name, err)
					}
				}
				if err := a.WriteTags(t.Context(), scope, tagAPI, map[string]string{"resourceArn": made}, ours); err != nil {
					t.Errorf("WriteTags: %v", err)
				}
			})
		}
		both.Wait()
		if r, _ := w.cloud.Resource(made); len(r.Writes) == 0 || r.Writes[0].Caller != a.ARN {
			t.Errorf("tags %v, want them written by %s", r.Writes, a.ARN)
		}
		assumed, others := 0, 0
		for _, c := range w.cloud.Calls("") {
			switch {
			case c.Op == "AssumeRole" && c.Scope == event.Scope{AccountID: accountID, Region: "eu-west-1"}:
				assumed++
			case c.Scope == scope:
				others++
			default:
				t.Errorf("a call %s in %s", c.Op, c.Scope)
			}
		}
		if assumed != 1 || others != 18 {
			t.Errorf("%d roles assumed for %d calls, want one for 18", assumed, others)
		}
		for _, r := range w.seen {
			if strings.HasPrefix(r.URL.Host, "sts.") != strings.Contains(r.Header.Get("Authorization"), "AKIAFAKE") {
				t.Errorf("%s is signed %s", r.URL, r.Header.Get("Authorization"))
			}
			if strings.HasPrefix(r.URL.Host, "sts.") && r.URL.Host != "sts.eu-west-1.amazonaws.com" {
				t.Errorf("STS at %s, want the Region's", r.URL)
			}
		}
	})
}

// The credentials of a role last an hour. Whatever the host's clock says, no call is made with old ones, and STS is asked no
// more often than it takes.
func TestARolesCredentialsAreRenewedBeforeTheyEnd(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"the same time": 0, "AWS is ahead": 5 * time.Hour, "AWS is behind": -5 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakeaws.Config{ClockOffset: ahead}, nil)
				a, b := w.assume(roleIn(member), ""), w.assume(roleIn(another), "")
				const hours = 24
				for range hours * 20 {
					w.works(a)
					w.works(b)
					time.Sleep(3 * time.Minute)
				}
				if got := time.Until(a.Now()); (got - ahead).Abs() > 2*time.Second {
					t.Errorf("AWS's time is %v ahead, want %v", got, ahead)
				}
				at := map[time.Time]bool{}
				assumed := w.cloud.Calls("AssumeRole")
				for _, c := range assumed {
					at[c.Time.Truncate(time.Minute)] = true
				}
				// An hour less five to ten minutes each, and for two accounts not always at the same time.
				if n := len(assumed) / 2; n < hours*60/60 || n > hours*60/50+2 || len(at) < len(assumed)/2+hours/4 {
					t.Errorf("a role was assumed %d times in %d hours, at %d times for two accounts", n, hours, len(at))
				}
				for _, c := range w.cloud.Calls("") {
					if c.Error != "" {
						t.Fatalf("%s: %s", c.Op, c.Error)
					}
				}
			})
		})
	}
}

// While STS fails the credentials that are there go on until they end; then every call says why, until STS answers again.
func TestAnOutageOfSTSIsOutlastedWhileTheCredentialsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakeaws.Config{}, nil)
		a := w.assume(roleIn(member), "")
		w.works(a)
		w.cloud.Fail("AssumeRole", -1, fakeaws.ServerError)
		for range 59 {
			time.Sleep(time.Minute)
			w.works(a)
		}
		if n := w.logs.FilterMessageSnippet("the old ones still hold").Len(); n == 0 || n > 25 {
			t.Errorf("%d warnings of 5 to 10 minutes without STS", n)
		}
		time.Sleep(2 * time.Minute)
		if failed := refusedRole(t, w.call(t.Context(), a), roleIn(member)); failed.Denied {
			t.Error("an outage counts as a refusal")
		}
		w.cloud.Heal()
		time.Sleep(time.Minute)
		w.works(a)
		if n := len(w.cloud.Calls("AssumeRole")); n > 40 {
			t.Errorf("%d attempts in 10 minutes", n)
		}
		for _, c := range w.cloud.Calls("DescribeTags") {
			if c.Error != "" {
				t.Errorf("a call with credentials that had ended: %s", c.Error)
			}
		}
	})
}

// A role that can't be assumed fails each call in its account, at once and with the same error, and nothing else.
func TestARefusedRoleLeavesOtherAccountsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakeaws.Config{Roles: []fakeaws.Role{{ARN: roleIn(member)}, {ARN: roleIn(another), Trusts: []string{member}}}}, nil)
		own, err := w.clients.Account(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		good, bad := w.assume(roleIn(member), ""), w.assume(roleIn(another), "")
		for name, err := range everyCall(t.Context(), t, bad, event.Scope{AccountID: another, Region: "eu-west-1"}) {
			failed := refusedRole(t, err, roleIn(another))
			if !failed.Denied || !awsclient.Denied(err) {
				t.Errorf("%s: a refusal does not count as one", name)
			}
			for _, want := range []string{"grant sts:AssumeRole", "trust policy", "AccessDenied"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: error %q lacks %q", name, err, want)
				}
			}
		}
		err = bad.WriteTags(t.Context(), event.Scope{AccountID: another, Region: "eu-west-1"}, tagQueue, byQueue, ours)
		refusedRole(t, err, roleIn(another))

		const minutes = 10
		before := len(w.cloud.Calls("AssumeRole"))
		for range minutes * 60 * 2 {
			began, asked := time.Now(), len(w.cloud.Calls("AssumeRole"))
			err := w.call(t.Context(), bad)
			refusedRole(t, err, roleIn(another))
			if took := time.Since(began); took > 0 && len(w.cloud.Calls("AssumeRole")) == asked {
				t.Errorf("an error that was known took %v", took)
			}
			time.Sleep(500 * time.Millisecond)
		}
		w.works(good)
		w.works(own)
		if n := len(w.cloud.Calls("AssumeRole")) - before; n < minutes || n > 2*minutes+6 {
			t.Errorf("%d attempts in %d minutes, want one to two a minute after the first", n, minutes)
		}
		w.cloud.SetRole(fakeaws.Role{ARN: roleIn(another)})
		time.Sleep(time.Minute)
		w.works(bad)
	})
}

func TestExternalIDs(t *testing.T) {
	for given, ok := range map[string]bool{"blue": true, "red": false, "": false} {
		t.Run(given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakeaws.Config{Roles: []fakeaws.Role{{ARN: roleIn(member), ExternalID: "blue"}}}, nil)
				err := w.call(t.Context(), w.assume(roleIn(member), given))
				switch {
				case ok && err != nil:
					t.Error(err)
				case !ok && !strings.Contains(refusedRole(t, err, roleIn(member)).Error(), "external id"):
					t.Errorf("error %q does not say what to look at", err)
				}
			})
		})
	}
}

func TestAClosedAccountLeavesOthersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakeaws.Config{}, nil)
		open, closed := w.assume(roleIn(member), ""), w.assume(roleIn(another), "")
		w.works(open)
		w.works(closed)
		w.cloud.CloseAccount(another)
		if err := w.call(t.Context(), closed); !awsclient.Denied(err) {
			t.Errorf("error = %v, want AWS's refusal", err)
		}
		time.Sleep(2 * time.Hour)
		refusedRole(t, w.call(t.Context(), closed), roleIn(another))
		w.works(open)
	})
}

// The program's own credentials are an instance's: other ones every few hours. Those before are worth nothing then.
func TestRolesOutliveTheCredentialsThatTheyWereAssumedBy(t *testing.T) {
	for name, told := range map[string]bool{"and it is known when they end": true, "and nobody says when they end": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const life = 150 * time.Minute
				w := newWorld(t, fakeaws.Config{}, func(cloud *fakeaws.AWS) aws.CredentialsProvider {
					return aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
						k := cloud.NewKey(accountID, life)
						return aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Token, CanExpire: told, Expires: k.Expires}, nil
					}))
				})
				a := w.assume(roleIn(member), "")
				for range 24 * 20 {
					w.works(a)
					time.Sleep(3 * time.Minute)
				}
				expired := 0
				for _, c := range w.cloud.Calls("AssumeRole") {
					if c.Error == "ExpiredToken" {
						expired++
					}
				}
				if told && expired > 0 || !told && (expired == 0 || expired > 10) {
					t.Errorf("%d attempts with credentials that had ended", expired)
				}
			})
		})
	}
}

func TestOwnCredentialsThatEndAreToldFromARefusedRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakeaws.Config{}, func(cloud *fakeaws.AWS) aws.CredentialsProvider {
			k := cloud.NewKey(accountID, time.Minute)
			return credentials.NewStaticCredentialsProvider(k.ID, k.Secret, k.Token)
		})
		time.Sleep(time.Hour)
		failed := refusedRole(t, w.call(t.Context(), w.assume(roleIn(member), "")), roleIn(member))
		if failed.Denied || !strings.Contains(failed.Error(), "renew AWS_SESSION_TOKEN") {
			t.Errorf("denied = %v: %v", failed.Denied, failed)
		}
	})
}

// One caller's patience is not another's: who gives up doesn't end the call to STS that others wait for.
func TestWhoeverWaitsForARoleMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakeaws.Config{}, nil)
		w.cloud.Fail("AssumeRole", 1, fakeaws.Slow)
		a := w.assume(roleIn(member), "")
		var both sync.WaitGroup
		both.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			err := w.call(ctx, a)
			var failed *awsclient.RoleError
			if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &failed) || time.Since(began) > 2*time.Second {
				t.Errorf("error = %v after %v", err, time.Since(began))
			}
		})
		both.Go(func() {
			time.Sleep(time.Millisecond)
			w.works(a)
		})
		both.Wait()
		if n := len(w.cloud.Calls("AssumeRole")); n != 1 {
			t.Errorf("%d attempts, want one", n)
		}
	})
}

func TestRolesOfPartitions(t *testing.T) {
	for partition, tt := range map[string]struct{ region, sts string }{
		"aws":        {"eu-west-1", "sts.eu-west-1.amazonaws.com"},
		"aws-cn":     {"cn-northwest-1", "sts.cn-northwest-1.amazonaws.com.cn"},
		"aws-us-gov": {"us-gov-east-1", "sts.us-gov-east-1.amazonaws.com"},
	} {
		t.Run(partition, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				role := "arn:" + partition + ":iam::" + member + ":role/team/autotagd"
				w := newWorld(t, fakeaws.Config{Regions: []string{tt.region}, Roles: []fakeaws.Role{{ARN: role}}}, nil)
				a := w.assume(role, "")
				if want := "arn:" + partition + ":sts::" + member + ":assumed-role/autotagd/autotagd"; a.ARN != want {
					t.Errorf("identity %s, want %s", a.ARN, want)
				}
				w.works(a)
				if got := w.seen[0].URL.Host; got != tt.sts {
					t.Errorf("STS at %s, want %s", got, tt.sts)
				}
				for _, other := range []string{"aws", "aws-cn", "aws-us-gov", "aws-iso"} {
					_, err := w.clients.Assume("arn:"+other+":iam::"+member+":role/autotagd", "")
					if ok := err == nil; ok != (other == partition) {
						t.Errorf("a role in %s: %v", other, err)
					}
				}
			})
		})
	}
}

func TestWhatIsNoRoleIsRefused(t *testing.T) {
	w := newWorld(t, fakeaws.Config{}, nil)
	for _, arn := range []string{
		"", "audit", "arn:aws:iam::444455556666:user/autotagd", "arn:aws:iam::4444:role/autotagd", "arn:aws:iam::44445555666x:role/autotagd",
		"arn:aws:sts::444455556666:role/autotagd", "arn:aws:iam::444455556666:role/", "arn:aws:iam::444455556666:role/path/",
	} {
		if _, err := w.clients.Assume(arn, ""); err == nil || !strings.Contains(err.Error(), "role/<name>") {
			t.Errorf("%q: error = %v", arn, err)
		}
	}
}

// The clients of all accounts are one a service, so that their connections are bounded together.
func TestLookupEventsInManyAccountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakeaws.Config{}, nil)
		var all sync.WaitGroup
		for _, role := range []string{roleIn(member), roleIn(another)} {
			a := w.assume(role, "")
			for _, region := range []string{"eu-west-1", "us-east-1"} {
				all.Go(func() {
					ct, err := a.CloudTrail(event.Scope{AccountID: a.ID, Region: region})
					if err != nil {
						t.Error(err)
						return
					}
					for range 20 {
						if _, err := ct.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{}); err != nil {
							t.Errorf("%s/%s: %v", a.ID, region, err)
						}
						time.Sleep(time.Second)
					}
				})
			}
		}
		all.Wait()
		count := map[event.Scope]int{}
		for _, c := range w.cloud.Calls("LookupEvents") {
			count[c.Scope]++
		}
		for _, id := range []string{member, another} {
			for _, region := range []string{"eu-west-1", "us-east-1"} {
				if n := count[event.Scope{AccountID: id, Region: region}]; n != 20 {
					t.Errorf("%d calls in %s/%s, want 20", n, id, region)
				}
			}
		}
	})
}
