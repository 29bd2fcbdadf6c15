package fakeaws

import (
	"encoding/json"
	"slices"

	"github.com/autotagd/autotagd/pkg/event"
)

// notEnabled is a Region that nobody has opted in to.
const notEnabled = "me-south-1"

// enabled reports whether a Region is there and enabled in the account.
func (a *AWS) enabled(s event.Scope) bool {
	accounts, optIn := a.cfg.OptIn[s.Region]
	return slices.Contains(a.cfg.Regions, s.Region) && (!optIn || slices.Contains(accounts, s.AccountID))
}

// controlRegion is where Organizations and account management are, in the partition of a Region.
func controlRegion(region string) string {
	switch event.Partition(region) {
	case "aws-cn":
		return "cn-northwest-1"
	case "aws-us-gov":
		return "us-gov-west-1"
	}
	return "us-east-1"
}

type regionStatus struct{ name, status string }

// regionsOf returns every Region and how it is in the account, in EC2's words.
func (a *AWS) regionsOf(accountID string) []regionStatus {
	var all []regionStatus
	for _, name := range a.cfg.Regions {
		_, optIn := a.cfg.OptIn[name]
		status := "opt-in-not-required"
		switch {
		case optIn && a.enabled(event.Scope{AccountID: accountID, Region: name}):
			status = "opted-in"
		case optIn:
			status = "not-opted-in"
		}
		all = append(all, regionStatus{name, status})
	}
	if !slices.Contains(a.cfg.Regions, notEnabled) {
		all = append(all, regionStatus{notEnabled, "not-opted-in"})
	}
	return all
}

// describeRegions shows the enabled Regions, and the others when all are asked for.
func (a *AWS) describeRegions(c *call) answer {
	regions := a.regionsOf(c.scope.AccountID)
	filters, names := c.filters(), c.params("RegionName")
	regions = slices.DeleteFunc(regions, func(r regionStatus) bool {
		status, byStatus := filters["opt-in-status"]
		name, byName := filters["region-name"]
		return c.form.Get("AllRegions") != "true" && r.status == "not-opted-in" ||
			byStatus && !slices.Contains(status, r.status) || byName && !slices.Contains(name, r.name) || len(names) > 0 && !slices.Contains(names, r.name)
	})
	return ec2OK("DescribeRegions", list("regionInfo", regions, func(r regionStatus) []node {
		suffix := ".amazonaws.com"
		if event.Partition(r.name) == "aws-cn" {
			suffix += ".cn"
		}
		return []node{el("regionName", r.name), el("regionEndpoint", "ec2."+r.name+suffix), el("optInStatus", r.status)}
	}))
}

// listRegions answers account management's ListRegions, two a page unless more are asked for, so that there are pages.
func (a *AWS) listRegions(c *call) answer {
	var in struct {
		MaxResults              int
		NextToken               string
		RegionOptStatusContains []string
	}
	if err := json.Unmarshal(c.body, &in); err != nil || in.MaxResults > 50 {
		return c.failure(400, "ValidationException", "invalid input")
	}
	var all []object
	for _, r := range a.regionsOf(c.scope.AccountID) {
		status := map[string]string{"opt-in-not-required": "ENABLED_BY_DEFAULT", "opted-in": "ENABLED", "not-opted-in": "DISABLED"}[r.status]
		if len(in.RegionOptStatusContains) == 0 || slices.Contains(in.RegionOptStatusContains, status) {
			all = append(all, object{"RegionName": r.name, "RegionOptStatus": status})
		}
	}
	most := in.MaxResults
	if most == 0 {
		most = 2
	}
	rows, next, ok := c.pageOf(all, in.NextToken, most, false)
	if !ok {
		return c.failure(400, "ValidationException", "The next token is invalid")
	}
	out := object{"Regions": rows}
	if next != "" {
		out["NextToken"] = next
	}
	return jsonOK(out)
}
