// Package config reads the configuration file into a checked Config. It is the only home of defaults.
//
// It is strict: a key it does not know, a value of the wrong type or unit, a key said twice, an expression that does not
// compile are mistakes, and Load reports all of them at once, each with file, line, column, key, what is wrong and what is
// wanted. What it returns can be used without checking again. A file need say nothing: each key has a default, and a key that
// is given replaces its default whole (tags given are all the tags, not more tags).
//
// The schema in schema.go is the one place that ties a key to its field, its check and its form in YAML: reading, writing the
// effective configuration and suggesting a misspelt key's right name all go through it.
package config

import (
	"time"

	"github.com/autotagd/autotagd/pkg/rules"
)

// Config is the whole configuration. Every duration in it is positive.
type Config struct {
	Regions       []string // none: the Region of the environment; AllRegions alone: every enabled one
	GlobalRegion  GlobalRegion
	Accounts      []Account // none: the account of the credentials
	Poll          Poll
	Checkpoint    Checkpoint
	Tags          []rules.Tag // in the file's order
	ExistingTags  ExistingTags
	Services      []string // none: all
	Filters       []string // CEL conditions; all must hold
	ServiceOwned  rules.ServiceOwned
	Owners        Owners
	DirectoryFile string   // "": none; see package directory
	CatalogFiles  []string // rows added or replaced
	Tagging       Tagging
	Web           Web
	Log           Log
	DryRun        bool

	origin origin
}

// AllRegions in Config.Regions stands for every enabled Region.
const AllRegions = "all"

// GlobalRegion says whether the Region of global services' events is polled too.
type GlobalRegion string

// Every GlobalRegion.
const (
	GlobalRegionAuto GlobalRegion = "auto"
	GlobalRegionOff  GlobalRegion = "off"
)

// Account is an account to work in by a role there, or, where Organization is set, all accounts of an organization.
type Account struct {
	RoleARN, ExternalID string
	Organization        *Organization
}

// Organization stands for every account of the organization but the excluded ones.
type Organization struct {
	RoleName string
	Exclude  []string // account ids, and those of organizational units, which stand for all the accounts below them
}

// Poll says how events are read.
type Poll struct {
	Interval, SweepInterval, Lookback time.Duration
	Rate                              float64       // LookupEvents attempts a second in a Scope: above 0, at most 2
	Start                             time.Duration // at most 90 days
}

// Checkpoint says where State is kept: in DynamoDB if that is set, else in files.
type Checkpoint struct {
	FilePath string // "": see Config.CheckpointDir
	DynamoDB *DynamoDB
}

// DynamoDB is the table that keeps State.
type DynamoDB struct {
	Table  string
	Region string // "": the Region of the environment
	Lease  time.Duration
}

// Policy says what becomes of a value that a tag has already.
type Policy string

// Every Policy.
const (
	Keep      Policy = "keep"
	Overwrite Policy = "overwrite"
)

// ExistingTags chooses a Policy by tag key.
type ExistingTags struct {
	Default Policy
	ByKey   map[string]Policy // nil where one Policy holds for all
}

// Overwrite reports whether a value that the tag key has already is replaced.
func (e ExistingTags) Overwrite(key string) bool {
	if p, ok := e.ByKey[key]; ok {
		return p == Overwrite
	}
	return e.Default == Overwrite
}

// Owners says whom to credit where the Record leaves a choice.
type Owners struct {
	SessionNames []SessionName // never empty; first match wins, and a role that none matches is not trusted
}

// SessionName says whether the session names of roles that match Role, a glob of * and ?, name people.
type SessionName struct {
	Role  string
	Trust bool
}

// Tagging says how tags are written.
type Tagging struct {
	Workers                                  int
	BatchWait                                time.Duration
	Rate                                     float64 // tag calls a second per account, Region and API
	ConsistencyWait, DeferAfter, GiveUpAfter time.Duration
	PropagateAtLaunch                        bool
}

// Web is the port for people and Prometheus.
type Web struct {
	Listen     string // HOST:PORT
	ConfigFile string // "": neither TLS nor a password
}

// Log says what is logged.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // json, console
}

// Default is the configuration of an empty file.
func Default() Config {
	return Config{
		GlobalRegion: GlobalRegionAuto,
		Poll: Poll{
			Interval:      15 * time.Second,
			SweepInterval: 5 * time.Minute,
			Lookback:      30 * time.Minute,
			Rate:          1.5,
			Start:         time.Hour,
		},
		Tags: []rules.Tag{
			{Key: "Owner", Value: "${owner.name}"},
			{Key: "PrincipalId", Value: "${identity.principal_id}"},
		},
		ExistingTags: ExistingTags{Default: Keep},
		ServiceOwned: rules.SkipServiceOwned,
		Owners:       Owners{SessionNames: []SessionName{{Role: "*", Trust: true}}},
		Tagging: Tagging{
			Workers:         8,
			BatchWait:       3 * time.Second,
			Rate:            5,
			ConsistencyWait: 2 * time.Minute,
			DeferAfter:      2 * time.Minute,
			GiveUpAfter:     24 * time.Hour,
		},
		Web: Web{Listen: "127.0.0.1:9464"},
		Log: Log{Level: "info", Format: "json"},
	}
}

// Rules compiles the tags and filters. After Load it cannot fail unless they were changed since.
func (c *Config) Rules() (*rules.Rules, error) { return rules.Compile(c.ruleOptions()) }

func (c *Config) ruleOptions() rules.Options {
	return rules.Options{Tags: c.Tags, Filters: c.Filters, Services: c.Services, ServiceOwned: c.ServiceOwned}
}

// IsSet reports whether the file says key, written as in error messages: "log.format".
func (c *Config) IsSet(key string) bool {
	_, ok := c.origin.places[key]
	return ok
}

// CheckServices returns an Errors with each configured service that is not in known.
func (c *Config) CheckServices(known []string) error {
	var errs Errors
	for i, s := range c.Services {
		if want := nearest(s, known); s != "" && !contains(known, s) { // "": of another form, and said so
			errs = append(errs, c.origin.mistake(index("services", i), "no such service: "+quote(s), suggestion(want, "want the names that autotagd catalog shows")))
		}
	}
	return errs.orNil()
}

// Mistake returns an Errors with what is wrong with the value of key, for those who find out only when they use it.
func (c *Config) Mistake(key, what, want string) error {
	return Errors{c.origin.mistake(key, what, want)}
}

// Keys returns every key that a configuration can have but for those inside lists, as "poll.interval".
func Keys() []string {
	c := Default()
	return schema(&c).paths("")
}
