package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
)

const (
	accountsEvery  = 15 * time.Minute // how often accounts and Regions are read again
	accountsRetry  = time.Minute      // and how soon when a part of that failed
	accountsWait   = time.Minute      // for one answer: what may pass is tried again until then
	accountsAtOnce = 8                // questions for Regions under way
)

// accounts is the AWS accounts that the daemon works in, and the Regions of each: its own, those of roles, those of an
// organization. What can't be read keeps what it was: an account that does not answer is not one that is closed.
type accounts struct {
	cfg    *config.Config
	own    *awsclient.Account
	region string // of the environment
	roles  []*awsclient.Account
	units  []*unit

	mu      sync.Mutex
	byID    map[string]*awsclient.Account
	regions map[string][]string // by account, where they are asked for
}

// unit is one organization of the configuration.
type unit struct {
	organization *awsclient.Organization
	accounts     []*awsclient.Account // as last read
}

// Scopes reads which Scopes cfg makes a daemon work in now, sorted. It may return some beside an error, which says what could
// not be read.
func Scopes(ctx context.Context, cfg *config.Config, clients *awsclient.Clients) ([]event.Scope, error) {
	own, err := clients.Account(ctx)
	if err != nil {
		return nil, err
	}
	a, err := newAccounts(cfg, clients, own)
	if err != nil {
		return nil, err
	}
	return a.scopes(ctx)
}

// newAccounts makes the accounts that the configuration names. It makes no call.
func newAccounts(cfg *config.Config, clients *awsclient.Clients, own *awsclient.Account) (*accounts, error) {
	a := &accounts{
		cfg: cfg, own: own, region: clients.Region(),
		byID: map[string]*awsclient.Account{own.ID: own}, regions: map[string][]string{},
	}
	for i, c := range cfg.Accounts {
		if o := c.Organization; o != nil {
			a.units = append(a.units, &unit{organization: clients.Organization(own, o.RoleName, o.Exclude)})
			continue
		}
		account, err := clients.Assume(c.RoleARN, c.ExternalID)
		if err != nil {
			return nil, fmt.Errorf("accounts[%d]: %w", i, err)
		}
		a.roles = append(a.roles, account)
	}
	return a, nil
}

// get returns the account with the id, or nil if the daemon does not work there.
func (a *accounts) get(id string) *awsclient.Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byID[id]
}

// scopes reads which Scopes there are now, sorted. Its error joins what could not be read, a line each: those parts are as
// they were.
func (a *accounts) scopes(ctx context.Context) ([]event.Scope, error) {
	all, err := a.accounts(ctx)
	var mu sync.Mutex // guards what follows
	var scopes []event.Scope
	failures := []error{err}
	var asking errgroup.Group
	asking.SetLimit(accountsAtOnce)
	for _, account := range all {
		asking.Go(func() error {
			regions, err := a.regionsOf(ctx, account)
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, err)
			for _, region := range regions {
				scopes = append(scopes, event.Scope{AccountID: account.ID, Region: region})
			}
			return nil
		})
	}
	_ = asking.Wait()
	byID := make(map[string]*awsclient.Account, len(all))
	for _, account := range all {
		byID[account.ID] = account
	}
	a.mu.Lock()
	a.byID = byID
	a.mu.Unlock()
	slices.SortFunc(scopes, func(x, y event.Scope) int { return strings.Compare(x.String(), y.String()) })
	return scopes, errors.Join(failures...)
}

// accounts returns the accounts that there are now, none twice.
func (a *accounts) accounts(ctx context.Context) ([]*awsclient.Account, error) {
	if len(a.cfg.Accounts) == 0 {
		return []*awsclient.Account{a.own}, nil
	}
	var failures []error
	all := slices.Clone(a.roles)
	for _, u := range a.units {
		asking, cancel := context.WithTimeout(ctx, accountsWait)
		now, err := u.organization.Accounts(asking)
		cancel()
		if err != nil {
			failures = append(failures, fmt.Errorf("the accounts of the organization: %w", awsclient.Explain(err)))
		} else {
			u.accounts = now
		}
		all = append(all, u.accounts...)
	}
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(account *awsclient.Account) bool {
		twice := seen[account.ID]
		seen[account.ID] = true
		return twice
	})
	return all, errors.Join(failures...)
}

// regionsOf returns the Regions to poll in an account: those of the configuration or of the environment, or all that are
// enabled there; and the one where global services' events go.
func (a *accounts) regionsOf(ctx context.Context, account *awsclient.Account) ([]string, error) {
	if !slices.Contains(a.cfg.Regions, config.AllRegions) {
		return regionsOf(a.cfg, a.region), nil
	}
	asking, cancel := context.WithTimeout(ctx, accountsWait)
	defer cancel()
	regions, err := account.Regions(asking)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		return a.regions[account.ID], fmt.Errorf("the Regions of account %s: %w", account.ID, awsclient.Explain(err))
	}
	if a.cfg.GlobalRegion == config.GlobalRegionAuto && len(regions) > 0 {
		if global := globalRegion(regions[0]); !slices.Contains(regions, global) {
			regions = append(regions, global)
		}
	}
	slices.Sort(regions)
	a.regions[account.ID] = regions
	return regions, nil
}
