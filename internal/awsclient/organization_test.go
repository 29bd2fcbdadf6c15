package awsclient_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/fakeaws"
)

const (
	sandbox = "ou-fake-sandbox0"
	inner   = "ou-fake-inner000"
	deepest = "ou-fake-deepest0"
	empty   = "ou-fake-empty000"
	prod    = "ou-fake-prod0000"
)

// company is an organization of the world's accounts and of others, in every state and unit; 45 accounts, of which 41 work.
func company() *fakeaws.Organization {
	o := &fakeaws.Organization{
		Members: []fakeaws.Member{
			{ID: accountID, Name: "management"},
			{ID: member, Name: "member", Unit: prod},
			{ID: another, Name: "another", Unit: deepest},
			{ID: "900000000001", State: "SUSPENDED", Unit: prod},
			{ID: "900000000002", State: "PENDING_CLOSURE"},
			{ID: "900000000003", State: "PENDING_ACTIVATION"},
			{ID: "900000000004", State: "CLOSED", Unit: sandbox},
		},
		Units: []fakeaws.Unit{{ID: prod}, {ID: sandbox}, {ID: inner, Parent: sandbox}, {ID: deepest, Parent: inner}, {ID: empty, Parent: sandbox}},
	}
	for i := range 38 {
		unit := prod
		switch {
		case i < 3:
			unit = ""
		case i < 6:
			unit = sandbox
		}
		o.Members = append(o.Members, fakeaws.Member{ID: fmt.Sprintf("1000000000%02d", i), Unit: unit})
	}
	slices.Reverse(o.Members)
	return o
}

// idsOf are the active accounts of company in these units, "" being the root.
func idsOf(units ...string) []string {
	var ids []string
	for _, m := range company().Members {
		if m.State == "" && slices.Contains(units, m.Unit) {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// organization is that of the world's own account.
func (w *world) organization(exclude ...string) (*awsclient.Organization, *awsclient.Account) {
	w.Helper()
	own, err := w.clients.Account(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return w.clients.Organization(own, "autotagd", exclude), own
}

func ids(accounts []*awsclient.Account) []string {
	var all []string
	for _, a := range accounts {
		all = append(all, a.ID)
	}
	return all
}

func TestTheOrganizationsActiveAccounts(t *testing.T) {
	everywhere := idsOf("", prod, sandbox, deepest)
	for name, change := range map[string]func(*fakeaws.Organization){
		"as usual":                      func(*fakeaws.Organization) {},
		"empty pages with a token":      func(o *fakeaws.Organization) { o.EmptyPages = true },
		"an answer with Status alone":   func(o *fakeaws.Organization) { o.OnlyStatus = true },
		"an answer that tells of units": func(o *fakeaws.Organization) { o.Paths = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := company()
				change(o)
				w := newWorld(t, fakeaws.Config{Organization: o}, nil)
				org, own := w.organization()
				accounts, err := org.Accounts(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(everywhere, ids(accounts)); diff != "" {
					t.Error(diff)
				}
				for _, a := range accounts {
					if a.ID == accountID && a != own || a.ID != accountID && a.ARN != "arn:aws:sts::"+a.ID+":assumed-role/autotagd/autotagd" {
						t.Errorf("account %s as %s", a.ID, a.ARN)
					}
					if a.ID == member || a.ID == another || a.ID == accountID {
						w.works(a)
					}
				}
				if n := len(w.cloud.Calls("AssumeRole")); n != 2 {
					t.Errorf("%d roles assumed, want the two that were needed, and none into the own account", n)
				}
				if pages := len(w.cloud.Calls("ListAccounts")); pages != 3 && !o.EmptyPages || pages != 6 && o.EmptyPages {
					t.Errorf("%d pages", pages)
				}
				for _, c := range w.cloud.Calls("ListAccounts") {
					if c.Scope.Region != "us-east-1" || c.Scope.AccountID != accountID {
						t.Errorf("asked in %s", c.Scope)
					}
				}
			})
		})
	}
}

// Asked again, the organization is as it is then; what stays keeps its credentials.
func TestTheOrganizationChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := company()
		w := newWorld(t, fakeaws.Config{Organization: o}, nil)
		org, _ := w.organization()
		before, err := org.Accounts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		byID := map[string]*awsclient.Account{}
		for _, a := range before {
			byID[a.ID] = a
		}
		w.works(byID[member])
		changed := company()
		for i, m := range changed.Members {
			if m.ID == another {
				changed.Members[i].State = "SUSPENDED"
			}
		}
		changed.Members = append(changed.Members, fakeaws.Member{ID: "200000000000"})
		w.cloud.SetOrganization(changed)
		after, err := org.Accounts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := append(slices.DeleteFunc(ids(before), func(id string) bool { return id == another }), "200000000000")
		slices.Sort(want)
		if diff := cmp.Diff(want, ids(after)); diff != "" {
			t.Error(diff)
		}
		for _, a := range after {
			if old := byID[a.ID]; old != nil && old != a {
				t.Errorf("account %s is another one", a.ID)
			}
			if a.ID == member {
				w.works(a)
			}
		}
		if n := len(w.cloud.Calls("AssumeRole")); n != 1 {
			t.Errorf("%d roles assumed, want one", n)
		}
	})
}

func TestExcludedAccountsAndUnits(t *testing.T) {
	for _, tt := range []struct {
		name    string
		exclude []string
		want    []string
		walked  int // calls, where AWS doesn't say in which units accounts are
		told    int // calls, where it does
	}{
		{"nothing", nil, idsOf("", prod, sandbox, deepest), 0, 0},
		{"an account", []string{member, "900000000001", "555555555555"}, without(idsOf("", prod, sandbox, deepest), member), 0, 0},
		{"the own account", []string{accountID}, without(idsOf("", prod, sandbox, deepest), accountID), 0, 0},
		{"a unit, with all below it", []string{sandbox}, idsOf("", prod), 8, 0},
		{"a unit below others", []string{inner}, idsOf("", prod, sandbox), 4, 0},
		{"a unit without accounts", []string{empty}, idsOf("", prod, sandbox, deepest), 2, 2},
		{"units below each other, and an account in them", []string{deepest, another, sandbox, inner}, idsOf("", prod), 8, 0},
		{"a unit of several pages", []string{prod}, idsOf("", sandbox, deepest), 3, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, paths := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					o := company()
					o.Paths, o.EmptyPages = paths, false
					w := newWorld(t, fakeaws.Config{Organization: o}, nil)
					org, _ := w.organization(tt.exclude...)
					accounts, err := org.Accounts(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(tt.want, ids(accounts)); diff != "" {
						t.Error(diff)
					}
					calls, want := len(w.cloud.Calls("ListAccountsForParent"))+len(w.cloud.Calls("ListOrganizationalUnitsForParent")), tt.walked
					if paths {
						want = tt.told
					}
					if calls != want {
						t.Errorf("%d calls, want %d; units told: %v", calls, want, paths)
					}
				})
			}
		})
	}
}

// Where only some accounts say in which units they are, the others' units are asked for.
func TestUnitsOfAccountsThatDoNotTellThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := company()
		o.Paths = true
		for i, m := range o.Members {
			o.Members[i].Pathless = m.ID == another
		}
		w := newWorld(t, fakeaws.Config{Organization: o}, nil)
		org, _ := w.organization(sandbox)
		accounts, err := org.Accounts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(idsOf("", prod), ids(accounts)); diff != "" {
			t.Error(diff)
		}
	})
}

func without(all []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == id })
}

// What can't be resolved is an error that says what to do: never an account less, and never one that was excluded.
func TestAnOrganizationThatCannotBeListed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		exclude string
		change  func(*world, *fakeaws.Organization)
		want    []string
		denied  bool
	}{
		{
			"no permission", "", func(w *world, _ *fakeaws.Organization) { w.cloud.Deny("organizations:ListAccounts") },
			[]string{"grant organizations:ListAccounts", "management account"},
			true,
		},
		{
			"the account of the credentials is a mere member", "", func(_ *world, o *fakeaws.Organization) { o.Management = member },
			[]string{"grant organizations:ListAccounts", "delegated administrator"},
			true,
		},
		{
			"no organization", "", func(w *world, _ *fakeaws.Organization) { w.cloud.SetOrganization(nil) },
			[]string{"AWSOrganizationsNotInUseException", "`accounts`"},
			false,
		},
		{
			"no permission for an excluded unit", sandbox, func(w *world, _ *fakeaws.Organization) { w.cloud.Deny("organizations:ListAccountsForParent") },
			[]string{"grant organizations:ListAccountsForParent"},
			true,
		},
		{"nor for those below it", sandbox, func(w *world, _ *fakeaws.Organization) {
			w.cloud.Deny("organizations:ListOrganizationalUnitsForParent")
		}, []string{"grant organizations:ListOrganizationalUnitsForParent"}, true},
		{"an excluded unit that is not there", "ou-fake-missing0", func(*world, *fakeaws.Organization) {}, []string{"no unit ou-fake-missing0"}, false},
		{
			"the same, where accounts tell their units", "ou-fake-missing0", func(_ *world, o *fakeaws.Organization) { o.Paths = true },
			[]string{"no unit ou-fake-missing0"},
			false,
		},
		{"an account that is none", "", func(_ *world, o *fakeaws.Organization) {
			o.Members = append(o.Members, fakeaws.Member{ID: "x:role/admin"})
		}, []string{"no account id"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := company()
				w := newWorld(t, fakeaws.Config{Organization: o}, nil)
				tt.change(w, o)
				var exclude []string
				if tt.exclude != "" {
					exclude = append(exclude, tt.exclude)
				}
				org, _ := w.organization(exclude...)
				accounts, err := org.Accounts(t.Context())
				if err == nil || accounts != nil {
					t.Fatalf("%d accounts, error = %v", len(accounts), err)
				}
				if awsclient.Denied(err) != tt.denied || strings.Contains(err.Error(), "\n") {
					t.Errorf("denied = %v: %q", awsclient.Denied(err), err)
				}
				for _, want := range tt.want {
					if strings.Count(err.Error(), want) != 1 {
						t.Errorf("error %q lacks %q, or says it twice", err, want)
					}
				}
			})
		})
	}
}

// Organizations is slow to anger and quick to throttle.
func TestListingOutlastsWhatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := company()
		o.EmptyPages = true
		w := newWorld(t, fakeaws.Config{
			Organization: o, Limits: map[string]fakeaws.Limit{"ListAccounts": {PerSecond: 0.2, Burst: 1}},
		}, nil)
		w.cloud.Fail("ListAccountsForParent", 3, fakeaws.ServerError)
		w.cloud.Fail("ListOrganizationalUnitsForParent", 3, fakeaws.Reset)
		org, _ := w.organization(sandbox)
		accounts, err := org.Accounts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(idsOf("", prod), ids(accounts)); diff != "" {
			t.Error(diff)
		}
		if n := w.logs.FilterMessage("AWS Organizations did not answer; trying again").Len(); n < 10 {
			t.Errorf("%d warnings", n)
		}
		if n := len(w.cloud.Calls("ListAccounts")); n > 40 {
			t.Errorf("%d attempts for six pages", n)
		}

		w.cloud.Fail("ListAccounts", -1, fakeaws.Throttle)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if _, err := org.Accounts(ctx); err == nil || !strings.Contains(err.Error(), "TooManyRequestsException") || time.Since(began) != time.Minute {
			t.Errorf("error = %v after %v, want what AWS said last when the context ended", err, time.Since(began))
		}
	})
}

// A token that AWS does not take half-way: the list begins anew, and has no account twice.
func TestAListThatBreaksBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakeaws.Config{
			Organization: company(), Limits: map[string]fakeaws.Limit{"ListAccounts": {PerSecond: 100, Burst: 100}},
		}, nil)
		org, _ := w.organization()
		w.cloud.Fail("ListAccounts", 2, fakeaws.BadToken) // the first has none to be refused
		accounts, err := org.Accounts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(accounts); n != 41 {
			t.Errorf("%d accounts", n)
		}
		w.cloud.Fail("ListAccounts", -1, fakeaws.BadToken)
		if _, err := org.Accounts(t.Context()); err == nil || !strings.Contains(err.Error(), "InvalidInputException") {
			t.Errorf("error = %v", err)
		}
		if n := len(w.cloud.Calls("ListAccounts")); n > 12 {
			t.Errorf("%d attempts", n)
		}
	})
}

// The management account is one more account to whom it has delegated.
func TestADelegatedAdministratorWorksInTheManagementAccountByARole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := company()
		o.Management, o.Delegated = member, []string{accountID}
		w := newWorld(t, fakeaws.Config{Organization: o}, nil)
		org, own := w.organization()
		accounts, err := org.Accounts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range accounts {
			if a.ID == accountID && a != own {
				t.Error("a role is assumed into the own account")
			}
			if a.ID == member {
				w.works(a)
			}
		}
		if calls := w.cloud.Calls("AssumeRole"); len(calls) != 1 || calls[0].Error != "" {
			t.Errorf("calls %v", calls)
		}
	})
}

func TestWhereOrganizationsIs(t *testing.T) {
	for region, want := range map[string]struct{ host, region, role string }{
		"eu-west-1":     {"organizations.us-east-1.amazonaws.com", "us-east-1", "arn:aws:sts::444455556666:assumed-role/autotagd/autotagd"},
		"cn-north-1":    {"organizations.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1", "arn:aws-cn:sts::444455556666:assumed-role/autotagd/autotagd"},
		"us-gov-east-1": {"organizations.us-gov-west-1.amazonaws.com", "us-gov-west-1", "arn:aws-us-gov:sts::444455556666:assumed-role/autotagd/autotagd"},
	} {
		t.Run(region, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakeaws.Config{Regions: []string{region}, Organization: company()}, nil)
				org, _ := w.organization(sandbox)
				accounts, err := org.Accounts(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				i := slices.Index(ids(accounts), member)
				if got := accounts[i].ARN; got != want.role {
					t.Errorf("role %s, want %s", got, want.role)
				}
				asked := slices.DeleteFunc(slices.Clone(w.seen), func(r *http.Request) bool { return strings.HasPrefix(r.URL.Host, "sts.") })
				for _, r := range asked {
					if r.URL.Host != want.host || !strings.Contains(r.Header.Get("Authorization"), "/"+want.region+"/organizations/") {
						t.Errorf("asked %s, signed %s", r.URL, r.Header.Get("Authorization"))
					}
				}
				if len(asked) != 11 {
					t.Errorf("%d calls, want three pages and two for each of four units", len(asked))
				}
			})
		})
	}
}

// An endpoint of one's own sees requests that are signed for the Region where Organizations is.
func TestOrganizationsBehindAnEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakeaws.Config{Organization: company()}, nil)
		clients, err := awsclient.FromConfig(aws.Config{
			Region: "eu-west-1", BaseEndpoint: aws.String("http://aws.example"),
			Credentials: credentials.NewStaticCredentialsProvider(fakeaws.AccessKey(accountID), "secret", ""),
		}, options(w))
		if err != nil {
			t.Fatal(err)
		}
		w.clients = clients
		org, own := w.organization()
		if _, err := org.Accounts(t.Context()); err != nil {
			t.Error(err)
		}
		w.cloud.Deny("ec2:DescribeRegions")
		if _, err := own.Regions(t.Context()); err != nil {
			t.Error(err)
		}
		for _, r := range w.seen {
			if r.URL.Host != "aws.example" {
				t.Errorf("asked %s", r.URL)
			}
		}
	})
}
