package awsclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/autotagd/autotagd/pkg/event"
)

const (
	// maxOrganizationPage is the most that Organizations gives on a page.
	maxOrganizationPage = 20
	// maxOrganizationPages ends a list that would go on for ever. The biggest organizations have some ten thousand accounts.
	maxOrganizationPages = 10_000
	// maxListings is how often a list is begun anew when its token is refused half-way.
	maxListings = 3
)

// Organization is the accounts of the organization that the credentials belong to. It is not safe for concurrent use.
type Organization struct {
	clients  *Clients
	own      *Account
	roleName string
	exclude  []string
	known    map[string]*Account // that were assumed, by id
}

// Organization returns the organization of own, the account of the credentials. It makes no call. Every other account is to
// be worked in by the role of that name in it. exclude has account ids, and ids of organizational units, which stand for all
// the accounts below them.
func (c *Clients) Organization(own *Account, roleName string, exclude []string) *Organization {
	return &Organization{clients: c, own: own, roleName: roleName, exclude: exclude, known: make(map[string]*Account)}
}

// Accounts asks AWS which accounts there are now, and returns those that are active and not excluded, by id; the account of
// the credentials as it is, without a role. An account that was returned before is the same *Account, so that its credentials
// last. What may pass (a throttle, a 5xx, a reset) is tried again, with a warning each time, until ctx ends. Any other failure
// fails the whole: what can't be resolved is never taken for an account less, nor for one that is not excluded.
func (o *Organization) Accounts(ctx context.Context) ([]*Account, error) {
	listed, err := o.list(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the organization's accounts: %w", Explain(err))
	}
	excluded, err := o.excluded(ctx, listed)
	if err != nil {
		return nil, fmt.Errorf("find the organization's excluded accounts: %w", Explain(err))
	}
	known := make(map[string]*Account, len(listed)) // those that are gone are forgotten
	for _, a := range listed {
		if id := aws.ToString(a.Id); active(a) && !excluded[id] {
			if known[id], err = o.account(id); err != nil {
				return nil, err
			}
		}
	}
	o.known = known
	accounts := make([]*Account, 0, len(known))
	for _, a := range known {
		accounts = append(accounts, a)
	}
	slices.SortFunc(accounts, func(a, b *Account) int { return strings.Compare(a.ID, b.ID) })
	return accounts, nil
}

func (o *Organization) account(id string) (*Account, error) {
	switch {
	case !isAccountID(id):
		return nil, fmt.Errorf("list the organization's accounts: AWS names one %.80q, which is no account id", id)
	case id == o.own.ID:
		return o.own, nil
	case o.known[id] != nil:
		return o.known[id], nil
	}
	return o.clients.Assume("arn:"+event.Partition(o.clients.region)+":iam::"+id+":role/"+o.roleName, "")
}

// active goes by State, and by Status, which State is to replace, where an answer has only that.
func active(a types.Account) bool {
	if a.State != "" {
		return a.State == types.AccountStateActive
	}
	return a.Status == types.AccountStatusActive
}

func (o *Organization) list(ctx context.Context) ([]types.Account, error) {
	return listPages(ctx, o.clients, func(token *string) ([]types.Account, *string, error) {
		out, err := o.clients.calls.listAccounts(ctx, &organizations.ListAccountsInput{
			MaxResults: aws.Int32(maxOrganizationPage), NextToken: token,
		}, o.clients.inOrganizationsRegion)
		if err != nil {
			return nil, nil, err
		}
		return out.Accounts, out.NextToken, nil
	})
}

// excluded returns which accounts are excluded, by id or because of a unit that they are in or below of. Where AWS says with
// each account in which units it is, that costs no call, but for a unit without accounts: it may not exist. Else the excluded
// units are walked down: two calls a unit, while to ask for the parents of accounts would take one an account.
func (o *Organization) excluded(ctx context.Context, listed []types.Account) (map[string]bool, error) {
	told := !slices.ContainsFunc(listed, func(a types.Account) bool { return active(a) && len(a.Paths) == 0 })
	excluded := make(map[string]bool)
	walked := make(map[string]bool)
	for _, entry := range o.exclude {
		if isAccountID(entry) {
			excluded[entry] = true
			continue
		}
		found := false
		for _, a := range listed {
			if told && below(a, entry) {
				excluded[aws.ToString(a.Id)], found = true, true
			}
		}
		if found {
			continue
		}
		if err := o.walk(ctx, entry, walked, excluded); err != nil {
			return nil, err
		}
	}
	return excluded, nil
}

// below reports whether a says that it is in the unit, or in one below it.
func below(a types.Account, unit string) bool {
	return slices.ContainsFunc(a.Paths, func(path string) bool { // o-ORGANIZATION/r-ROOT/ou-UNIT/ou-UNIT/ACCOUNT/
		return slices.Contains(strings.Split(path, "/"), unit)
	})
}

// walk adds every account in the unit, and in those below it, to excluded.
func (o *Organization) walk(ctx context.Context, unit string, walked, excluded map[string]bool) error {
	if walked[unit] {
		return nil
	}
	walked[unit] = true
	accounts, err := listPages(ctx, o.clients, func(token *string) ([]types.Account, *string, error) {
		out, err := o.clients.calls.listAccountsForUnit(ctx, &organizations.ListAccountsForParentInput{
			ParentId: &unit, MaxResults: aws.Int32(maxOrganizationPage), NextToken: token,
		}, o.clients.inOrganizationsRegion)
		if err != nil {
			return nil, nil, err
		}
		return out.Accounts, out.NextToken, nil
	})
	var missing *types.ParentNotFoundException
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("the organization has no unit %s: %w", unit, err)
	case err != nil:
		return err
	}
	for _, a := range accounts {
		excluded[aws.ToString(a.Id)] = true
	}
	units, err := listPages(ctx, o.clients, func(token *string) ([]types.OrganizationalUnit, *string, error) {
		out, err := o.clients.calls.listUnits(ctx, &organizations.ListOrganizationalUnitsForParentInput{
			ParentId: &unit, MaxResults: aws.Int32(maxOrganizationPage), NextToken: token,
		}, o.clients.inOrganizationsRegion)
		if err != nil {
			return nil, nil, err
		}
		return out.OrganizationalUnits, out.NextToken, nil
	})
	if err != nil {
		return err
	}
	for _, u := range units {
		if err := o.walk(ctx, aws.ToString(u.Id), walked, excluded); err != nil {
			return err
		}
	}
	return nil
}

func (c *Clients) inOrganizationsRegion(o *organizations.Options) { o.Region = c.controlRegion() }

// controlRegion is where Organizations and account management are: in one Region of each partition.
func (c *Clients) controlRegion() string {
	switch event.Partition(c.region) {
	case "aws":
		return "us-east-1"
	case "aws-cn":
		return "cn-northwest-1"
	case "aws-us-gov":
		return "us-gov-west-1"
	}
	return c.region // the SDK knows where
}

// listPages reads all of a list of Organizations, page by page: they can be empty and have a token all the same. When a token
// is refused, the list begins anew. page makes one attempt.
func listPages[T any](ctx context.Context, c *Clients, page func(token *string) (rows []T, next *string, err error)) ([]T, error) {
	var all []T
	var token *string
	for pages, listings := 0, 1; pages < maxOrganizationPages; pages++ {
		var rows []T
		var next *string
		err := c.untilAnswered(ctx, "AWS Organizations did not answer; trying again", func() (err error) {
			rows, next, err = page(token)
			return err
		})
		var invalid *types.InvalidInputException
		switch {
		case errors.As(err, &invalid) && token != nil && listings < maxListings:
			listings++
			all, token = nil, nil
			continue
		case err != nil:
			return nil, err
		}
		all = append(all, rows...)
		if aws.ToString(next) == "" {
			return all, nil
		}
		token = next
	}
	return nil, fmt.Errorf("the list goes on for more than %d pages", maxOrganizationPages)
}
