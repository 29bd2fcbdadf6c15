package config

// A description says what a key does.
type description struct {
	line    string // in one line: a comment in the effective configuration
	more    string // limits and what to consider, in Markdown; may be empty
	example string // a configuration in YAML that sets the key
}

// descriptions has every key of the schema, those inside lists as "accounts[].role_arn". Type and default of a key are not said
// here: they are read from the schema.
func descriptions() map[string]description {
	return map[string]description{
		"regions": {
			"The Regions to read; none is the Region of the environment, [all] every enabled one.",
			"Each account in each Region is a *Scope*, read, limited and checkpointed by itself. `[all]` is asked of each account every 15 minutes, so a Region that you enable needs no restart.",
			"regions: [eu-central-1, eu-west-1]",
		},
		"global_region": {
			"Read the Region of global services too, where IAM and CloudFront record their events.",
			"That is us-east-1 in AWS's commercial partition, whatever Regions you work in.",
			"global_region: off",
		},
		"accounts": {
			"The accounts to work in; none is the account of the credentials.",
			"Each item is one account's role, or the organization; one organization at most, and one role an account. The organization's accounts are asked for every 15 minutes. What fails in one account delays no other.",
			`accounts: [{role_arn: "arn:aws:iam::444455556666:role/autotagd"}]`,
		},
		"accounts[].role_arn": {
			"The role that is assumed in the account.",
			"Every item has one, or an `organization`. Its trust policy has to name the identity that autotagd runs as, which needs `sts:AssumeRole`; `autotagd policy --role` prints what the role needs. All roles are in one partition.",
			`accounts: [{role_arn: "arn:aws:iam::444455556666:role/team/autotagd"}]`,
		},
		"accounts[].external_id": {
			"The external id that the role's trust policy asks for.",
			"2 to 1,224 letters, digits and `_ + = , . @ - : /`.",
			`accounts: [{role_arn: "arn:aws:iam::444455556666:role/autotagd", external_id: from-them}]`,
		},
		"accounts[].organization": {
			"Every account of the organization.",
			"The identity is in its management account, or in one that is a delegated administrator; that account is worked in without a role.",
			"accounts: [{organization: {}}]",
		},
		"accounts[].organization.role_name": {
			"The name of the role that is assumed in each of its accounts.",
			"The same in all of them, without path or ARN.",
			"accounts: [{organization: {role_name: tagger}}]",
		},
		"accounts[].organization.exclude": {
			"Accounts, and organizational units with all below them, that are left out.",
			"An account id has 12 digits; quote it, as YAML would read it as a number.",
			`accounts: [{organization: {exclude: ["999988887777", ou-ab12-12345678]}}]`,
		},
		"poll": {"How CloudTrail's events are read.", "", "poll: {}"},
		"poll.interval": {
			"Between the beginnings of two head scans, which look for new events.",
			"A shorter one gains little: CloudTrail itself is minutes late. Where the rate does not suffice, scans begin later (`autotagd_lookup_scan_period_seconds`). It is also the time between two saves, at least.",
			"poll: {interval: 30s}",
		},
		"poll.sweep_interval": {
			"Between two final passes, which read each stretch of time once more when it is complete.",
			"Final passes alone move the Floor. Where events are read by name a pass takes longer strides, up to an hour, to cost less.",
			"poll: {sweep_interval: 10m}",
		},
		"poll.lookback": {
			"How late after its time an event may become visible and is still found.",
			"The promise holds for what CloudTrail shows within it. 2 to 15 minutes are usual; `autotagd_event_visibility_delay_seconds` shows yours. Longer costs more calls.",
			"poll: {lookback: 1h}",
		},
		"poll.rate": {
			"LookupEvents calls a second in a Scope, at most; retries count.",
			"AWS answers two a second in an account and Region, to everybody there together. Lower it where others need some.",
			"poll: {rate: 1}",
		},
		"poll.start": {
			"How far back a Scope without a checkpoint begins.",
			"For one run, `--since` does that for every Scope, also for those that have a checkpoint. CloudTrail keeps 90 days.",
			"poll: {start: 7d}",
		},
		"checkpoint":      {"Where it is kept what was done: a directory, or a DynamoDB table.", "", "checkpoint: {file: {}}"},
		"checkpoint.file": {"Checkpoints in a directory: for one daemon.", "A second daemon on the directory is refused.", "checkpoint: {file: {}}"},
		"checkpoint.file.path": {
			"The directory; \"\" is $STATE_DIRECTORY, else $XDG_STATE_HOME/autotagd, else ~/.local/state/autotagd.",
			"systemd sets `$STATE_DIRECTORY`. It has to outlive the host or the container: without it autotagd begins anew. Nowhere to keep it is exit code 2.",
			"checkpoint: {file: {path: /var/lib/autotagd}}",
		},
		"checkpoint.dynamodb": {
			"Checkpoints in a DynamoDB table: for replicas that share the work.",
			"Beside `checkpoint.file` it is a mistake. `autotagd check --aws --create-table` makes the table; see [dynamodb.md](dynamodb.md).",
			"checkpoint: {dynamodb: {}}",
		},
		"checkpoint.dynamodb.table":  {"The table's name.", "3 to 255 letters, digits and `_ . -`.", "checkpoint: {dynamodb: {table: marks}}"},
		"checkpoint.dynamodb.region": {"The table's Region; \"\" is the Region of the environment.", "The account is that of the credentials.", "checkpoint: {dynamodb: {region: eu-west-1}}"},
		"checkpoint.dynamodb.lease": {
			"How long a replica may be silent before others take its Scopes.",
			"It beats three times in that. Shorter costs more writes and gives up a slow replica sooner.",
			"checkpoint: {dynamodb: {lease: 1m}}",
		},
		"tags": {
			"The tags that are written: key and value, with CEL expressions in ${...}.",
			"What is given replaces the default whole. A tag whose expression gives nothing is left out. At most 50; keys have at most 127 characters and do not begin with `aws:`; values are cut to 256, and what AWS refuses in them becomes `_`. The variables are [below](#variables).",
			"tags: {Owner: \"${owner.name}\", CreatedBy: \"${owner.kind}/${owner.name} via ${event.name}\"}",
		},
		"existing_tags": {
			"What becomes of a value that the resource has already: keep, or overwrite; or a mapping by tag key.",
			"With `keep` the tags are read before the write. In a mapping, keys that are not named are kept. Calls that may have changed an older resource (`PutParameter`, `PutRule`) keep whatever is said here.",
			"existing_tags: {Owner: keep, PrincipalId: overwrite}",
		},
		"services": {
			"Only these services, by the names that `autotagd catalog` shows; none is all.",
			"The policy that `autotagd policy` prints gets smaller with it.",
			"services: [ec2, s3]",
		},
		"filters": {
			"CEL conditions: a create event is handled when all hold.",
			"What a filter leaves out ends as `skipped`. The variables are [below](#variables).",
			"filters: ['event.source != \"iam.amazonaws.com\"', 'owner.kind == \"person\"']",
		},
		"service_owned": {
			"What a service made for itself, as Auto Scaling its instances: skip, or tag.",
			"With `tag` the Owner is the service's name: `autoscaling.amazonaws.com`.",
			"service_owned: tag",
		},
		"owners": {"Whom to credit where the record leaves a choice.", "", "owners: {}"},
		"owners.session_names": {
			"For which roles the session name names a person; the first item that matches wins.",
			"Where it is not trusted, and for a role that no item matches, Owner is the role's name. Never empty; `role: \"*\"` comes last. `sourceIdentity` beats the session name either way.",
			"owners: {session_names: [{role: \"ci-*\", trust: false}, {role: \"*\", trust: true}]}",
		},
		"owners.session_names[].role":  {"A glob of the role's name: * is any characters, ? is one.", "Without path or ARN.", "owners: {session_names: [{role: \"AWSReservedSSO_*\", trust: true}]}"},
		"owners.session_names[].trust": {"Whether the session names of these roles name people.", "", "owners: {session_names: [{role: \"*\", trust: false}]}"},
		"directory":                    {"Who is in which department.", "", "directory: {}"},
		"directory.file": {
			"A CSV file with owners and their attributes; \"\" is none. Relative to the working directory.",
			"A column `name` (a glob, without regard to case) and any others, which are `${owner.attributes.COLUMN}`. It is read again within half a minute of a change. See [departments.md](departments.md).",
			"directory: {file: people.csv}",
		},
		"catalog": {"Which calls create what, beside what is built in.", "", "catalog: {}"},
		"catalog.files": {
			"Tables of calls that the catalog lacks, or has otherwise. Relative to the working directory.",
			"See [catalog.md](catalog.md). They are read at a start and at a reload.",
			"catalog: {files: [wickr.tsv]}",
		},
		"tagging":            {"How tags are written.", "", "tagging: {}"},
		"tagging.workers":    {"Tag calls in flight at once in an account, Region and API.", "", "tagging: {workers: 16}"},
		"tagging.batch_wait": {"How long a resource waits for others to share its tag call.", "A full batch goes at once: 1,000 resources of EC2, or 20 of other services.", "tagging: {batch_wait: 1s}"},
		"tagging.rate": {
			"Tag calls a second in an account, Region and API.",
			"Four times that in a burst. It halves when AWS throttles, and recovers.",
			"tagging: {rate: 2}",
		},
		"tagging.consistency_wait": {
			"How old an event has to be before \"not found\" is believed.",
			"AWS may not know a new resource for a while. After that, and three attempts over 20 seconds, it ends as `gone`.",
			"tagging: {consistency_wait: 5m}",
		},
		"tagging.defer_after": {
			"How long a tag call that fails is tried in memory, before it is saved to be tried again later.",
			"What is denied is deferred too.",
			"tagging: {defer_after: 5m}",
		},
		"tagging.give_up_after": {
			"How long a resource that can't be tagged is tried, before it is counted as missed.",
			"You have that long to grant a permission that is missing.",
			"tagging: {give_up_after: 3d}",
		},
		"tagging.propagate_at_launch": {"Whether Auto Scaling groups hand the tags on to instances that they launch.", "Instances that are there already get none.", "tagging: {propagate_at_launch: true}"},
		"web":                         {"The port for people, Prometheus and supervisors.", "", "web: {}"},
		"web.listen": {
			"HOST:PORT, or :PORT for every address.",
			"It shows names of people and resources: off a loopback address give it TLS and a password. See [web.md](web.md).",
			"web: {listen: \":9464\"}",
		},
		"web.config_file": {
			"TLS and passwords, as every Prometheus exporter has them; \"\" is none. Relative to the working directory.",
			"See [web.md](web.md#tls-and-a-password).",
			"web: {config_file: web.yml}",
		},
		"log":        {"What is logged, to standard error.", "", "log: {}"},
		"log.level":  {"The least that is said: debug, info, warn or error.", "An outcome is `info`, and `missed` is `warn`.", "log: {level: warn}"},
		"log.format": {"json, or console for people.", "At a terminal it is `console` unless the file says otherwise.", "log: {format: console}"},
		"dry_run":    {"Make no writing call, and read and write no checkpoint.", "The same as `autotagd run --dry-run`.", "dry_run: true"},
	}
}
