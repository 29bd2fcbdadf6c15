package config

import (
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// days is a span of days, which LookupEvents keeps 90 of.
func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// schema ties every key to its field of c, in the order in which they are documented.
func schema(c *Config) section {
	return section{
		{"regions", list[string]{&c.Regions, plain(region)}},
		{"global_region", choice[GlobalRegion]{&c.GlobalRegion, []GlobalRegion{GlobalRegionAuto, GlobalRegionOff}}},
		{"accounts", list[Account]{&c.Accounts, func(a *Account) value { return account{a} }}},
		{"poll", section{
			{"interval", duration{&c.Poll.Interval, 0}},
			{"sweep_interval", duration{&c.Poll.SweepInterval, 0}},
			{"lookback", duration{&c.Poll.Lookback, 0}},
			{"rate", number{&c.Poll.Rate, 2}},
			{"start", duration{&c.Poll.Start, days(90)}},
		}},
		{"checkpoint", checkpoint{&c.Checkpoint}},
		{"tags", tags{&c.Tags}},
		{"existing_tags", existingTags{&c.ExistingTags}},
		{"services", list[string]{&c.Services, plain(service)}},
		{"filters", list[string]{&c.Filters, plain(nil)}},
		{"service_owned", serviceOwned(c)},
		{"owners", section{
			{"session_names", list[SessionName]{&c.Owners.SessionNames, sessionName}},
		}},
		{"directory", section{{"file", text{&c.DirectoryFile, nil}}}},
		{"catalog", section{{"files", list[string]{&c.CatalogFiles, plain(path)}}}},
		{"tagging", section{
			{"workers", count{&c.Tagging.Workers, 1000}},
			{"batch_wait", duration{&c.Tagging.BatchWait, 0}},
			{"rate", number{&c.Tagging.Rate, 1000}},
			{"consistency_wait", duration{&c.Tagging.ConsistencyWait, 0}},
			{"defer_after", duration{&c.Tagging.DeferAfter, 0}},
			{"give_up_after", duration{&c.Tagging.GiveUpAfter, 0}},
			{"propagate_at_launch", flag{&c.Tagging.PropagateAtLaunch}},
		}},
		{"web", section{
			{"listen", text{&c.Web.Listen, listen}},
			{"config_file", text{&c.Web.ConfigFile, nil}},
		}},
		{"log", section{
			{"level", choice[string]{&c.Log.Level, []string{"debug", "info", "warn", "error"}}},
			{"format", choice[string]{&c.Log.Format, []string{"json", "console"}}},
		}},
		{"dry_run", flag{&c.DryRun}},
	}
}

// check returns what is wrong with a text and what is wanted, or nothing.
type check func(string) (what, want string)

// plain makes the values of a list of texts.
func plain(c check) func(*string) value {
	return func(p *string) value { return text{p, c} }
}

// refuse says that s is not the noun it should be, unless it is.
func refuse(s string, is bool, noun, want string) (string, string) {
	if is {
		return "", ""
	}
	return "not " + noun + ": " + quote(s), want
}

// isWord reports whether s has from least to most characters, all of them ASCII letters, digits or in others.
func isWord(s, others string, least, most int) bool {
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune(others, r) {
			return false
		}
	}
	return len(s) >= least && len(s) <= most
}

// inNames are the characters beside letters and digits that IAM allows in names.
const inNames = "_+=,.@-"

func isRegion(s string) bool {
	return regexp.MustCompile(`^[a-z]{2,5}(-[a-z]+)+-[0-9]+$`).MatchString(s)
}

func region(s string) (string, string) {
	return refuse(s, s == AllRegions || isRegion(s), "a Region", "want its name, as eu-west-1")
}

func oneRegion(s string) (string, string) {
	return refuse(s, s == "" || isRegion(s), "a Region", "want its name, as eu-west-1")
}

func service(s string) (string, string) {
	return refuse(s, isWord(s, "-", 1, 64) && s == strings.ToLower(s) && s[0] != '-', "a service", "want its short name, as ec2 or s3")
}

func path(s string) (string, string) {
	if s == "" {
		return "is empty", "want a file's name"
	}
	return "", ""
}

func roleARN(s string) (string, string) {
	is := regexp.MustCompile(`^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/([\x21-\x7e]+/)?[\w+=,.@-]{1,64}$`).MatchString(s)
	return refuse(s, is, "an IAM role ARN", "want arn:aws:iam::<account>:role/<name>")
}

func roleName(s string) (string, string) {
	return refuse(s, isWord(s, inNames, 1, 64), "a role's name", "want it as IAM shows it, without path or ARN")
}

func roleGlob(s string) (string, string) {
	return refuse(s, isWord(s, inNames+"*?", 1, 128), "a role's name", "want it without path or ARN; * stands for anything, ? for one character")
}

func externalID(s string) (string, string) {
	return refuse(s, isWord(s, inNames+":/", 2, 1224), "an external id", "want 2 to 1224 letters, digits and "+spaced(inNames+":/"))
}

func excluded(s string) (string, string) {
	is := regexp.MustCompile(`^([0-9]{12}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32})$`).MatchString(s)
	return refuse(s, is, "an account id, nor that of an organizational unit", "want 12 digits, or ou-<root>-<unit>")
}

func tableName(s string) (string, string) {
	return refuse(s, isWord(s, "_.-", 3, 255), "a table's name", "want 3 to 255 letters, digits and "+spaced("_.-"))
}

func spaced(s string) string { return strings.Join(strings.Split(s, ""), " ") }

func listen(s string) (string, string) {
	const want = "want HOST:PORT, as 127.0.0.1:9464"
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return "not an address: " + quote(s), want
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "not a port: " + quote(port), want
	}
	return "", ""
}

func sessionName(s *SessionName) value {
	return section{{"role", required{text{&s.Role, roleGlob}}}, {"trust", required{flag{&s.Trust}}}}
}

// account is one item of accounts.
type account struct{ p *Account }

func (a account) section() section {
	o := &Organization{RoleName: "autotagd"}
	if a.p.Organization != nil {
		o = a.p.Organization
	}
	return section{
		{"role_arn", text{&a.p.RoleARN, roleARN}},
		{"external_id", text{&a.p.ExternalID, externalID}},
		{"organization", optional[Organization]{&a.p.Organization, o, section{
			{"role_name", text{&o.RoleName, roleName}},
			{"exclude", list[string]{&o.Exclude, plain(excluded)}},
		}}},
	}
}

func (a account) decode(d *decoder, n *yaml.Node, key string) {
	if !d.section(n, key, a.section()) {
		return
	}
	org, role, external := d.has(key, "organization"), d.has(key, "role_arn"), d.has(key, "external_id")
	switch {
	case org && (role || external):
		d.fail(n, key, "an organization beside one account's role", "want an item for each")
	case !org && !role:
		d.fail(n, key, "no account", "want role_arn, or organization")
	}
}

func (a account) encode() *yaml.Node {
	all := a.section()
	if a.p.Organization != nil {
		return all[2:].encode()
	}
	if a.p.ExternalID == "" {
		return all[:1].encode()
	}
	return all[:2].encode()
}

func (account) kind() string { return "mapping" }

// checkpoint is one of two.
type checkpoint struct{ p *Checkpoint }

// table is the table of a configuration that says nothing of it but that there is one.
func (checkpoint) table() *DynamoDB { return &DynamoDB{Table: "autotagd", Lease: 30 * time.Second} }

func (c checkpoint) section() section {
	table := c.table()
	if c.p.DynamoDB != nil {
		table = c.p.DynamoDB
	}
	return section{
		{"file", section{{"path", text{&c.p.FilePath, nil}}}},
		{"dynamodb", optional[DynamoDB]{&c.p.DynamoDB, table, section{
			{"table", text{&table.Table, tableName}},
			{"region", text{&table.Region, oneRegion}},
			{"lease", duration{&table.Lease, 0}},
		}}},
	}
}

func (c checkpoint) decode(d *decoder, n *yaml.Node, key string) {
	if d.section(n, key, c.section()) && d.has(key, "file") && d.has(key, "dynamodb") {
		d.failKey(member(key, "dynamodb"), "given beside checkpoint.file", "want one of the two")
	}
}

func (c checkpoint) paths(key string) []string { return c.section().paths(key) }

func (checkpoint) kind() string { return "mapping with `file` or `dynamodb`" }

func (c checkpoint) encode() *yaml.Node {
	if c.p.DynamoDB != nil {
		return c.section()[1:].encode()
	}
	return c.section()[:1].encode()
}
