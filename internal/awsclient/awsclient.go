// Package awsclient makes the AWS SDK's clients, with every retry, timeout and connection limit set on purpose.
//
// Configuration comes from where every AWS tool takes it: the SDK's environment variables (AWS_ENDPOINT_URL and its kin
// too), the shared files, the role of the machine. There is one client a service; Region and credentials are options of each
// call, so that a hundred accounts in twenty Regions cost no more than one. Invariants: no call of a Scope is ever repeated
// behind its caller's back, whatever AWS_MAX_ATTEMPTS says, because the callers count attempts against AWS's rates and see its
// throttles; no attempt can hang; connections are bounded; every request says `autotagd/VERSION`; a failure to get credentials
// is never taken for an answer of the service that was to be called. A start that fails says in one line what to set.
package awsclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/account"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/pkg/tagapi"
)

// metadataTimeout bounds the question to EC2's metadata service for the Region, asked only where nothing else names one.
const metadataTimeout = 2 * time.Second

// What a start can lack. The text of an error that wraps one of them says what to set.
var (
	ErrNoRegion      = errors.New("no AWS Region is set: set AWS_REGION, or `regions` in the configuration, or `region` in the AWS profile")
	ErrNoCredentials = errors.New("no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, " +
		"or run where a role is attached (EC2, ECS, EKS)")
)

// Options say what New and FromConfig need beside the SDK's configuration.
type Options struct {
	Version string         // of autotagd, for the user agent
	Region  string         // where calls without a Scope go; "" = the environment's
	Log     *zap.Logger    // takes the SDK's own warnings, and waits at a start
	HTTP    aws.HTTPClient // nil = a client with the limits of this package; AWS_CA_BUNDLE works only with that
}

// Clients has one client a service. It is safe for concurrent use.
type Clients struct {
	region      string
	log         *zap.Logger
	credentials aws.CredentialsProvider // of the environment
	sealed      aws.CredentialsProvider // the same, for calls
	clock       clock
	calls       calls
	own         own
}

// calls are the calls of AWS that are made, one attempt each. They are functions, of this type and of those in it: where
// anything in the program looks methods up by name, as templates do, the linker keeps every method of a client that a value in
// some interface leads to. EC2's are 770 operations, 30 MB.
type calls struct {
	getCallerIdentity func(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
	assumeRole        func(context.Context, *sts.AssumeRoleInput, ...func(*sts.Options)) (*sts.AssumeRoleOutput, error)

	listAccounts        func(context.Context, *organizations.ListAccountsInput, ...func(*organizations.Options)) (*organizations.ListAccountsOutput, error)
	listAccountsForUnit func(context.Context, *organizations.ListAccountsForParentInput, ...func(*organizations.Options)) (*organizations.ListAccountsForParentOutput, error)
	listUnits           func(context.Context, *organizations.ListOrganizationalUnitsForParentInput, ...func(*organizations.Options)) (*organizations.ListOrganizationalUnitsForParentOutput, error)

	listRegions     func(context.Context, *account.ListRegionsInput, ...func(*account.Options)) (*account.ListRegionsOutput, error)
	describeRegions func(context.Context, *ec2.DescribeRegionsInput, ...func(*ec2.Options)) (*ec2.DescribeRegionsOutput, error)
	lookupEvents    func(context.Context, *cloudtrail.LookupEventsInput, ...func(*cloudtrail.Options)) (*cloudtrail.LookupEventsOutput, error)

	dynamodb DynamoDB
	ec2      EC2
	tagging  Tagging
}

// New reads the SDK's configuration from the environment and the shared files and makes the clients. Without a Region the
// error wraps ErrNoRegion. It makes no call, but for one to EC2's metadata service where nothing names a Region, and asks
// for no credentials: Account does.
func New(ctx context.Context, o Options) (*Clients, error) {
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(httpClient()),
		config.WithLogger(sdkLogger(o.Log)),
	}
	if o.HTTP != nil {
		load = append(load, config.WithHTTPClient(o.HTTP))
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	var profile config.SharedConfigProfileNotExistError
	switch {
	case errors.As(err, &profile):
		return nil, fmt.Errorf("the AWS profile %q does not exist: set AWS_PROFILE to one that ~/.aws/config or ~/.aws/credentials has", profile.Profile)
	case err != nil:
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		if cfg, err = withMachinesRegion(ctx, load); err != nil {
			return nil, err
		}
	}
	return FromConfig(cfg, o)
}

// withMachinesRegion loads the configuration with the Region of the EC2 instance that this is.
func withMachinesRegion(ctx context.Context, load []func(*config.LoadOptions) error) (aws.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	cfg, err := config.LoadDefaultConfig(ctx, append(load, config.WithEC2IMDSRegion())...)
	if err != nil || cfg.Region == "" {
		// Whatever the metadata service answered: what helps is the same.
		return aws.Config{}, ErrNoRegion
	}
	return cfg, nil
}

// FromConfig makes the clients from cfg, and reads neither environment nor files: for an AWS in the process.
func FromConfig(cfg aws.Config, o Options) (*Clients, error) {
	if o.Region != "" {
		cfg.Region = o.Region
	}
	if cfg.Region == "" {
		return nil, ErrNoRegion
	}
	if cfg.Credentials == nil {
		return nil, ErrNoCredentials
	}
	if o.HTTP != nil {
		cfg.HTTPClient = o.HTTP
	}
	cfg.Logger = sdkLogger(o.Log)
	cfg.APIOptions = append(append([]func(*middleware.Stack) error(nil), cfg.APIOptions...),
		awsmiddleware.AddUserAgentKeyValue("autotagd", o.Version))

	// One attempt a call: AWS_MAX_ATTEMPTS only wraps this one, for which no error is one to retry.
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	credentials := cfg.Credentials
	cfg.Credentials = sealed{credentials}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = httpClient()
	}
	caller, org, table := sts.NewFromConfig(cfg), organizations.NewFromConfig(cfg), dynamodb.NewFromConfig(cfg)
	compute, tagging := ec2.NewFromConfig(cfg), resourcegroupstaggingapi.NewFromConfig(cfg)
	kind := tagging.Options().EndpointOptions // as the SDK has it from the environment and the files
	return &Clients{
		region:      cfg.Region,
		log:         o.Log,
		credentials: credentials,
		sealed:      cfg.Credentials,
		calls: calls{
			getCallerIdentity: caller.GetCallerIdentity, assumeRole: caller.AssumeRole,
			listAccounts: org.ListAccounts, listAccountsForUnit: org.ListAccountsForParent, listUnits: org.ListOrganizationalUnitsForParent,
			listRegions: account.NewFromConfig(cfg).ListRegions, describeRegions: compute.DescribeRegions,
			lookupEvents: cloudtrail.NewFromConfig(cfg).LookupEvents,
			dynamodb: DynamoDB{
				Query: table.Query, BatchGetItem: table.BatchGetItem, BatchWriteItem: table.BatchWriteItem,
				UpdateItem: table.UpdateItem, DeleteItem: table.DeleteItem,
				CreateTable: table.CreateTable, DescribeTable: table.DescribeTable,
				UpdateTimeToLive: table.UpdateTimeToLive, DescribeTimeToLive: table.DescribeTimeToLive,
			},
			ec2: EC2{
				CreateTags: compute.CreateTags, DescribeTags: compute.DescribeTags, DescribeInstances: compute.DescribeInstances,
				DescribeVolumes: compute.DescribeVolumes, DescribeImages: compute.DescribeImages,
			},
			tagging: Tagging{TagResources: tagging.TagResources, GetResources: tagging.GetResources},
		},
		own: own{
			http: cfg.HTTPClient, userAgent: "autotagd/" + o.Version, endpoint: endpoints(cfg),
			variant: tagapi.Variant{
				FIPS:      kind.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled,
				DualStack: kind.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled,
			},
		},
	}, nil
}

// sealed are credentials whose failures can't be taken for an answer of the service that was to be called: an endpoint of
// ECS, EKS, Identity Center or STS says 'not found' or 'denied' of a role, not of the resource in the request.
type sealed struct{ aws.CredentialsProvider }

// Retrieve implements aws.CredentialsProvider.
func (s sealed) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := s.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return c, &noCredentials{Explain(err)}
	}
	return c, nil
}

// noCredentials says why there were none. It does not unwrap.
type noCredentials struct{ err error }

func (e *noCredentials) Error() string { return e.err.Error() }

// Region returns the Region of the environment, or the one given in Options.
func (c *Clients) Region() string { return c.region }
