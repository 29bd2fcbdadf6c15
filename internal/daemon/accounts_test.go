package daemon

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

const (
	member1, member2, member3 = "222222222222", "333333333333", "444444444444"
	roleName                  = "autotagd"
)

func roleIn(account string) string { return "arn:aws:iam::" + account + ":role/" + roleName }

// tagged makes a volume in a Scope and says whether it has its owner after a while.
func (w *world) tagged(s event.Scope, wait time.Duration) bool {
	w.t.Helper()
	made := w.cloud.Create(s, "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
	time.Sleep(wait)
	return slices.ContainsFunc(w.outcomes(made.EventID), func(o string) bool { return strings.HasPrefix(o, string(resource.Tagged)) })
}

// --once does not wait for a role that somebody has to make first, and does the other accounts.
func TestOnceWithARoleThatIsMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, `{global_region: off, regions: [eu-west-1], accounts: [{role_arn: "`+roleIn(member1)+`"}, {role_arn: "`+roleIn(member2)+`"}]}`,
			fakeaws.Config{
				Accounts: []string{fakeaws.DefaultAccount, member1, member2}, Regions: []string{"eu-west-1"}, Roles: []fakeaws.Role{{ARN: roleIn(member1)}},
			})
		made := w.cloud.Create(event.Scope{AccountID: member1, Region: "eu-west-1"}, "CreateVolume", fakeaws.IAMUser("alice"), fakeaws.Spec{Delay: -1})
		time.Sleep(time.Minute)
		began := time.Now()
		err := <-w.start(func(o *Options) { o.Once = true }).done
		if err == nil || !strings.Contains(err.Error(), roleIn(member2)) || strings.Contains(err.Error(), roleIn(member1)) {
			t.Errorf("it ended with %v, want that %s can't be assumed", err, roleIn(member2))
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
		if got := w.outcomes(made.EventID); len(got) != 1 || !strings.HasPrefix(got[0], string(resource.Tagged)) {
			t.Errorf("in the other account: %q", got)
		}
	})
}

// Accounts by role: what fails in one delays no other, and is mended when an operator mends it.
func TestAccountsByRole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, `{global_region: off, regions: [eu-west-1], accounts: [{role_arn: "`+roleIn(member1)+`", external_id: secret}, {role_arn: "`+roleIn(member2)+`"}]}`,
			fakeaws.Config{
				Accounts: []string{fakeaws.DefaultAccount, member1, member2}, Regions: []string{"eu-west-1"},
				Roles: []fakeaws.Role{{ARN: roleIn(member1), ExternalID: "secret"}},
			})
		r := w.start()
		time.Sleep(time.Minute)
		one, two := event.Scope{AccountID: member1, Region: "eu-west-1"}, event.Scope{AccountID: member2, Region: "eu-west-1"}
		if !w.tagged(one, time.Minute) {
			t.Error("an account beside one whose role is missing is not tagged")
		}
		if w.tagged(two, time.Minute) {
			t.Error("tagged without a role")
		}
		if w.tagged(w.cloud.Scope(), time.Minute) {
			t.Error("the credentials' own account is worked in, and is not among the configured ones")
		}
		if err := r.daemon.health.healthy(); err != nil {
			t.Errorf("a role that is missing makes the daemon unhealthy: %v", err)
		}
		w.cloud.SetRole(fakeaws.Role{ARN: roleIn(member2)})
		time.Sleep(5 * time.Minute)
		if !w.tagged(two, time.Minute) {
			t.Error("not tagged after the role was made")
		}
		time.Sleep(3 * time.Hour) // several lives of credentials
		if !w.tagged(one, time.Minute) || !w.tagged(two, time.Minute) {
			t.Error("not tagged when credentials had to be renewed")
		}
		r.stop()
	})
}

// The organization is read again: a new account is worked in without a restart, a closed one no more, with its State kept.
func TestOrganization(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		active := func(ids ...string) *fakeaws.Organization {
			o := &fakeaws.Organization{EmptyPages: true}
			for _, id := range ids {
				o.Members = append(o.Members, fakeaws.Member{ID: id})
			}
			return o
		}
		var roles []fakeaws.Role
		for _, id := range []string{member1, member2, member3} {
			roles = append(roles, fakeaws.Role{ARN: roleIn(id)})
		}
		w := newWorld(t, 1, `{regions: [all], accounts: [{organization: {role_name: autotagd, exclude: ["`+member3+`"]}}]}`, fakeaws.Config{
			Accounts: []string{fakeaws.DefaultAccount, member1, member2, member3}, Regions: []string{"us-east-1", "eu-west-1", "ap-east-1"},
			Roles: roles, Organization: active(fakeaws.DefaultAccount, member1, member3), OptIn: map[string][]string{"ap-east-1": {member1}},
		})
		r := w.start()
		time.Sleep(2 * time.Minute)
		held := func() []string {
			var ids []string
			for _, s := range r.daemon.fleet.all() {
				ids = append(ids, s.id.String())
			}
			return ids
		}
		own := fakeaws.DefaultAccount
		want := []string{own + "/eu-west-1", own + "/us-east-1", member1 + "/ap-east-1", member1 + "/eu-west-1", member1 + "/us-east-1"}
		if got := held(); !slices.Equal(got, want) {
			t.Errorf("Scopes %v, want %v", got, want)
		}
		if !w.tagged(event.Scope{AccountID: member1, Region: "ap-east-1"}, time.Minute) || !w.tagged(w.cloud.Scope(), time.Minute) {
			t.Error("a member, or the own account, is not tagged")
		}

		w.cloud.SetOrganization(active(own, member2, member3)) // member1 has left
		time.Sleep(16 * time.Minute)
		want = []string{own + "/eu-west-1", own + "/us-east-1", member2 + "/eu-west-1", member2 + "/us-east-1"}
		if got := held(); !slices.Equal(got, want) {
			t.Errorf("Scopes %v, want %v", got, want)
		}
		if !w.tagged(event.Scope{AccountID: member2, Region: "us-east-1"}, time.Minute) {
			t.Error("a new member is not tagged")
		}
		text := gather(t, r)
		if strings.Contains(text, `autotagd_lease_held{account_id="`+member1) || !strings.Contains(text, `autotagd_lease_held{account_id="`+member2+`",region="us-east-1"} 1`) {
			t.Error("the metrics show an account that has left as one that nobody holds, or not the new one")
		}
		const read = "autotagd_accounts_last_read_successful{} "
		if !strings.Contains(text, read+"1") {
			t.Error("the metrics say that the accounts could not be read")
		}

		w.cloud.Deny("organizations:ListAccounts")
		time.Sleep(20 * time.Minute) // what can't be read stays as it was
		if !strings.Contains(gather(t, r), read+"0") {
			t.Error("the metrics say that the accounts could be read")
		}
		if got := held(); !slices.Equal(got, want) {
			t.Errorf("Scopes %v while the organization can't be read, want %v", got, want)
		}
		r.stop()
		kept, err := r.daemon.store.Load(t.Context(), event.Scope{AccountID: member1, Region: "us-east-1"})
		if err != nil || kept.State == nil {
			t.Errorf("the State of an account that left: %v, %v; want it kept", kept.Version, err)
		}
	})
}

// With nothing to work in a start fails, and says why in a line for each.
func TestNoAccountAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, `{accounts: [{organization: {role_name: autotagd}}]}`, fakeaws.Config{Regions: []string{"us-east-1"}})
		r := w.start()
		time.Sleep(5 * time.Minute)
		select {
		case err := <-r.done:
			if err == nil || !strings.Contains(err.Error(), "organization") {
				t.Errorf("error = %v", err)
			}
		default:
			t.Error("it runs without an account")
			r.cancel()
			<-r.done
		}
	})
}

// Invariant 4: attempts that waited for a role's credentials together don't leave together.
func TestAttemptsThatWaitedForCredentialsKeepTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, `{regions: [us-east-1], accounts: [{role_arn: "`+roleIn(fakeaws.DefaultAccount)+`"}]}`, fakeaws.Config{
			Regions: []string{"us-east-1"}, Roles: []fakeaws.Role{{ARN: roleIn(fakeaws.DefaultAccount)}},
		})
		w.cloud.SetFaults("AssumeRole", fakeaws.Faults{Slow: 1})
		r := w.start()
		time.Sleep(3 * time.Minute)
		r.stop()
		if n := len(w.cloud.Calls("LookupEvents")); n < 5 {
			t.Errorf("LookupEvents was called %d times", n)
		}
		w.pace(w.cfg.Poll.Rate)
	})
}
