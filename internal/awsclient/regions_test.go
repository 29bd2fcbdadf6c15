package awsclient_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/fakeaws"
)

// enabled is a world where a Region is enabled in one of the members alone.
var enabled = fakeaws.Config{
	Regions: []string{"us-east-1", "af-south-1", "ap-east-1", "eu-west-1"},
	OptIn:   map[string][]string{"ap-east-1": {member}, "af-south-1": nil},
}

func TestRegionsAreThoseThatAreEnabledInTheAccount(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fakeaws.AWS)
		list   int // calls of each
		ask    int
	}{
		"by account management":         {func(*fakeaws.AWS) {}, 3, 0},
		"which is not allowed":          {func(f *fakeaws.AWS) { f.Deny("account:ListRegions") }, 2, 2},
		"which can't be reached":        {func(f *fakeaws.AWS) { f.Fail("ListRegions", -1, fakeaws.Reset) }, 2, 2},
		"which alone is allowed":        {func(f *fakeaws.AWS) { f.Deny("ec2:DescribeRegions") }, 3, 0},
		"which is throttled, and alone": {func(f *fakeaws.AWS) { f.Deny("ec2:DescribeRegions"); f.Fail("ListRegions", 2, fakeaws.Throttle) }, 5, 2},
		"EC2 is throttled, and alone": {func(f *fakeaws.AWS) {
			f.Deny("account:ListRegions")
			f.Fail("DescribeRegions", 2, fakeaws.Throttle)
		}, 4, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, enabled, nil)
				tt.change(w.cloud)
				for role, want := range map[string][]string{
					roleIn(member): {"ap-east-1", "eu-west-1", "us-east-1"}, roleIn(another): {"eu-west-1", "us-east-1"},
				} {
					got, err := w.assume(role, "").Regions(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff)
					}
				}
				if list, ask := len(w.cloud.Calls("ListRegions")), len(w.cloud.Calls("DescribeRegions")); list != tt.list || ask != tt.ask {
					t.Errorf("%d calls of ListRegions and %d of DescribeRegions, want %d and %d", list, ask, tt.list, tt.ask)
				}
			})
		})
	}
}

func TestRegionsThatCannotBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, enabled, nil)
		a := w.assume(roleIn(member), "")
		w.cloud.Deny("account:ListRegions")
		w.cloud.Deny("ec2:DescribeRegions")
		_, err := a.Regions(t.Context())
		for _, want := range []string{member, "grant account:ListRegions", "grant ec2:DescribeRegions"} {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || !awsclient.Denied(err) {
				t.Errorf("error %v lacks %q, or has more than one line", err, want)
			}
		}

		w.cloud.Heal()
		w.cloud.Fail("", -1, fakeaws.Throttle)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := a.Regions(ctx); err == nil || ctx.Err() == nil {
			t.Errorf("error = %v before the context ended", err)
		}

		w.cloud.Heal()
		began := time.Now()
		_, err = w.assume("arn:aws:iam::444455556666:role/other", "").Regions(t.Context())
		refusedRole(t, err, "arn:aws:iam::444455556666:role/other")
		if n := strings.Count(err.Error(), "AssumeRole,"); n != 1 || time.Since(began) > time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// Partitions where account management is not: there is no such host.
func TestRegionsOfPartitions(t *testing.T) {
	for region, want := range map[string]struct{ account, ec2 string }{
		"eu-west-1":     {"account.us-east-1.amazonaws.com", "ec2.eu-west-1.amazonaws.com"},
		"cn-north-1":    {"account.cn-northwest-1.amazonaws.com.cn", "ec2.cn-north-1.amazonaws.com.cn"},
		"us-gov-east-1": {"account.us-gov-west-1.amazonaws.com", "ec2.us-gov-east-1.amazonaws.com"},
	} {
		t.Run(region, func(t *testing.T) {
			var hosts []string
			q := &requests{answer: func(op string, r *http.Request) (*http.Response, error) {
				switch {
				case op == "GetCallerIdentity":
					return nil, nil
				case strings.HasPrefix(r.URL.Host, "account."):
					hosts = append(hosts, r.URL.Host)
					return nil, noSuchHost(r.URL.Host)
				}
				hosts = append(hosts, r.URL.Host)
				return answer(200, "text/xml", `<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><regionInfo>`+
					`<item><regionName>zz-1</regionName></item><item><regionName>b-1</regionName><optInStatus>not-opted-in</optInStatus></item>`+
					`<item><regionName>aa-1</regionName><optInStatus>opted-in</optInStatus></item></regionInfo></DescribeRegionsResponse>`), nil
			}}
			o := options(q)
			o.Region = region
			got, err := accountOf(t, o).Regions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"aa-1", "zz-1"}, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{want.account, want.ec2}, hosts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An answer without Regions is none: nothing would be polled, and nobody would know.
func TestNoRegionsAreAnError(t *testing.T) {
	q := &requests{answer: func(op string, r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Host, "account.") {
			return answer(200, "application/json", `{"Regions":[]}`), nil
		}
		return nil, nil
	}}
	if got, err := account(t, q).Regions(t.Context()); err == nil || !strings.Contains(err.Error(), "names none") {
		t.Errorf("Regions %v, error = %v", got, err)
	}
}
