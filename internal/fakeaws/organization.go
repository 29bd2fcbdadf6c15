package fakeaws

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// maxOrganizationPage is the most accounts or units on a page.
const maxOrganizationPage = 20

// The ids of the one organization that there can be, and of its root.
const (
	organizationID = "o-fake123456"
	rootID         = "r-fake"
)

// Organization is accounts under one management account. Not all of them need be accounts of the AWS.
type Organization struct {
	Management string   // "": the first account of the AWS
	Delegated  []string // accounts that may ask about the organization too
	Members    []Member // with the management account
	Units      []Unit
	// EmptyPages puts an empty page, with a token, before every page.
	EmptyPages bool
	// Paths makes answers say in which units an account is, as the newer ones do.
	Paths bool
	// OnlyStatus makes answers have the older Status instead of State.
	OnlyStatus bool
}

// Member is an account of an organization.
type Member struct {
	ID, Name string
	State    string // "": ACTIVE
	Unit     string // "": the root
	Pathless bool   // it does not say in which units it is, though the others do
}

// Unit is an organizational unit.
type Unit struct {
	ID, Parent string // Parent "": the root
}

// SetOrganization replaces the organization; nil: the accounts are in none.
func (a *AWS) SetOrganization(o *Organization) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.org = o
}

// organizationInput is the input of every list of Organizations.
type organizationInput struct {
	ParentID, NextToken string
	MaxResults          *int
}

// asked reads a call to Organizations, and refuses whom AWS would.
func (a *AWS) asked(c *call) (organizationInput, *answer) {
	var in organizationInput
	fail := func(code, message string) (organizationInput, *answer) {
		e := c.failure(400, code, message)
		return in, &e
	}
	if err := json.Unmarshal(c.body, &in); err != nil {
		return fail("SerializationException", err.Error())
	}
	if a.org == nil || !slices.ContainsFunc(a.org.Members, func(m Member) bool { return m.ID == c.scope.AccountID }) {
		return fail("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
	}
	management := a.org.Management
	if management == "" {
		management = a.cfg.Accounts[0]
	}
	if c.scope.AccountID != management && !slices.Contains(a.org.Delegated, c.scope.AccountID) {
		return fail("AccessDeniedException", "You don't have permissions to access this resource.")
	}
	if n := in.MaxResults; n != nil && (*n < 1 || *n > maxOrganizationPage) {
		return fail("InvalidInputException", "You specified an invalid value for MaxResults.")
	}
	parent := in.ParentID
	if c.op != "ListAccounts" && parent != rootID && !slices.ContainsFunc(a.org.Units, func(u Unit) bool { return u.ID == parent }) {
		return fail("ParentNotFoundException", "You specified parent that doesn't exist.")
	}
	return in, nil
}

func (a *AWS) listAccounts(c *call) answer {
	return a.organizationList(c, "Accounts", func(organizationInput) []object {
		return a.members(func(Member) bool { return true })
	})
}

func (a *AWS) listAccountsForParent(c *call) answer {
	return a.organizationList(c, "Accounts", func(in organizationInput) []object {
		return a.members(func(m Member) bool { return orRoot(m.Unit) == in.ParentID })
	})
}

func (a *AWS) listUnitsForParent(c *call) answer {
	return a.organizationList(c, "OrganizationalUnits", func(in organizationInput) []object {
		var units []object
		for _, u := range a.org.Units {
			if orRoot(u.Parent) == in.ParentID {
				units = append(units, object{"Id": u.ID, "Name": "unit " + u.ID})
			}
		}
		return units
	})
}

func orRoot(unit string) string {
	if unit == "" {
		return rootID
	}
	return unit
}

// organizationList answers with a page of rows, under a name.
func (a *AWS) organizationList(c *call, name string, rows func(organizationInput) []object) answer {
	in, bad := a.asked(c)
	if bad != nil {
		return *bad
	}
	most := maxOrganizationPage
	if in.MaxResults != nil {
		most = *in.MaxResults
	}
	page, next, ok := c.pageOf(rows(in), in.NextToken, most, a.org.EmptyPages)
	if !ok {
		e := c.failure(400, "InvalidInputException", "You specified an invalid value for NextToken.")
		return e
	}
	out := object{name: page}
	if next != "" {
		out["NextToken"] = next
	}
	return jsonOK(out)
}

// members shows the accounts that are chosen.
func (a *AWS) members(chosen func(Member) bool) []object {
	var all []object
	for _, m := range a.org.Members {
		if !chosen(m) {
			continue
		}
		state := m.State
		if state == "" {
			state = "ACTIVE"
		}
		shown := object{"Id": m.ID, "Name": m.Name, "Email": m.ID + "@example.com", "JoinedMethod": "CREATED"}
		if a.org.OnlyStatus {
			shown["Status"] = map[string]string{"CLOSED": "SUSPENDED", "PENDING_ACTIVATION": "SUSPENDED"}[state]
			if shown["Status"] == "" {
				shown["Status"] = state
			}
		} else {
			shown["State"] = state
		}
		if a.org.Paths && !m.Pathless {
			shown["Paths"] = []string{a.path(m.Unit) + m.ID + "/"}
		}
		all = append(all, shown)
	}
	return all
}

// path is the entity path of a unit, or of the root for "".
func (a *AWS) path(unit string) string {
	if unit == "" {
		return organizationID + "/" + rootID + "/"
	}
	for _, u := range a.org.Units {
		if u.ID == unit {
			return a.path(u.Parent) + unit + "/"
		}
	}
	panic("fakeaws: no unit " + unit) // a mistake of the test
}

// pageOf cuts rows down to a page of at most so many, or to none before every page if empty pages are wanted. The token that
// goes on is bound to the operation and who calls; ok is false for one that is not.
func (c *call) pageOf(rows []object, token string, most int, emptyPages bool) (page []object, next string, ok bool) {
	bound := digest(c.scope.String(), c.op)[:16]
	start, empty := 0, emptyPages
	if token != "" {
		b, err := base64.StdEncoding.DecodeString(token)
		kind, at, found := strings.Cut(strings.TrimPrefix(string(b), bound), "+")
		n, convErr := strconv.Atoi(at)
		if err != nil || !strings.HasPrefix(string(b), bound) || !found || convErr != nil || n > len(rows) || c.badToken {
			return nil, "", false
		}
		start, empty = n, emptyPages && kind == "empty"
	}
	going := func(kind string, at int) string {
		return base64.StdEncoding.EncodeToString([]byte(bound + kind + "+" + strconv.Itoa(at)))
	}
	page = []object{}
	if empty {
		return page, going("full", start), true
	}
	end := min(start+most, len(rows))
	if page = append(page, rows[start:end]...); end < len(rows) {
		next = going("empty", end)
	}
	return page, next, true
}
