package tagapi

import (
	"strings"

	"github.com/autotagd/autotagd/pkg/event"
)

// Variant is a kind of endpoint that the SDK's settings can ask for.
type Variant struct{ FIPS, DualStack bool }

// suffixes are the ends of host names by partition: the usual one, and that of dual-stack hosts (botocore's partitions.json).
var suffixes = map[string]struct{ dns, dual string }{
	"aws":        {"amazonaws.com", "api.aws"},
	"aws-cn":     {"amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	"aws-eusc":   {"amazonaws.eu", "api.amazonwebservices.eu"},
	"aws-iso":    {"c2s.ic.gov", "api.aws.ic.gov"},
	"aws-iso-b":  {"sc2s.sgov.gov", "api.aws.scloud"},
	"aws-iso-e":  {"cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
	"aws-iso-f":  {"csp.hci.ic.gov", "api.aws.hci.ic.gov"},
	"aws-us-gov": {"amazonaws.com", "api.aws"},
}

// Suffix returns what the names of most hosts in the Region end with: amazonaws.com.
func Suffix(region string) string { return suffixOf(region).dns }

func suffixOf(region string) struct{ dns, dual string } {
	if s, ok := suffixes[event.Partition(region)]; ok {
		return s
	}
	return suffixes["aws"]
}

// Host returns the service's host in a Region, and the Region that requests to it are signed for: a global service has one
// host a partition.
//
// Service.Hosts has a template by Region, by partition, and for aws; each also by variant ("fips aws-us-gov"). Where it has
// none, the partition's follows from aws', and a variant's from the plain one, as AWS's rules for endpoints have it.
func (s *Service) Host(region string, v Variant) (host, signingRegion string) {
	template := s.template(region, event.Partition(region), v)
	template, signingRegion, fixed := strings.Cut(template, "@")
	if !fixed {
		signingRegion = region
	}
	suffix := suffixOf(region)
	return strings.NewReplacer("{region}", region, "{dns}", suffix.dns, "{dual}", suffix.dual).Replace(template), signingRegion
}

func (s *Service) template(region, partition string, v Variant) string {
	variant := ""
	switch v {
	case Variant{FIPS: true}:
		variant = "fips "
	case Variant{DualStack: true}:
		variant = "dual "
	case Variant{FIPS: true, DualStack: true}:
		variant = "fips-dual "
	}
	for _, key := range [...]string{variant + region, variant + partition} {
		if t, ok := s.Hosts[key]; ok {
			return t
		}
	}
	plain, own := s.Hosts[partition]
	if !own {
		if t, ok := s.Hosts[variant+"aws"]; ok {
			return t
		}
		plain = s.Hosts["aws"]
	}
	if v.FIPS {
		first, rest, _ := strings.Cut(plain, ".")
		plain = first + "-fips." + rest
	}
	if v.DualStack {
		plain = strings.ReplaceAll(plain, "{dns}", "{dual}")
	}
	return plain
}
