package daemon

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint/storetest"
	"github.com/autotagd/autotagd/pkg/event"
)

// weather has one thing after another go wrong until ctx ends; then everything works.
func (s *sim) weather(ctx context.Context, rng *rand.Rand) {
	defer s.cloud.Heal()
	for ctx.Err() == nil {
		length := between(rng, 30*time.Second, 12*time.Minute)
		if s.length > simHours {
			length = between(rng, time.Minute, 3*time.Hour)
		}
		from := s.cloud.Now()
		blow := s.blow
		if s.then != nil {
			blow, s.then = s.then, nil
		}
		what, scopes := blow(rng)
		if what == "" {
			pause(ctx, length)
			continue
		}
		s.watch.note("weather: " + what)
		pause(ctx, length)
		s.cloud.Heal()
		s.disk.SetCapacity(0)
		s.breakDisk(nil)
		s.watch.note("it is over: " + what)
		s.watch.trouble(scopes, from, s.cloud.Now())
	}
}

func (s *sim) breakDisk(how func(op string) storetest.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = how
}

// blow begins some weather and says what; "" for none. Scopes are those that suffer, none for all.
func (s *sim) blow(rng *rand.Rand) (what string, scopes []event.Scope) {
	share := func(most float64) float64 { return rng.Float64() * most }
	faults := func(op string, f fakeaws.Faults) string {
		s.cloud.SetFaults(op, f)
		return fmt.Sprintf("%s fails: %+v", op, f)
	}
	scope := pickOf(rng, s.cloud.Scopes()...)
	one := []event.Scope{scope}
	switch rng.IntN(20) {
	case 0, 1:
		return faults("", fakeaws.Faults{
			Throttle: share(0.1), ServerError: share(0.1), Reset: share(0.1), LostAnswer: share(0.1), Slow: share(0.03),
			BadToken: share(0.2), Partial: share(0.1),
		}), nil
	case 2:
		return faults("LookupEvents", fakeaws.Faults{Throttle: 0.3 + share(0.7)}), nil
	case 3:
		return faults("LookupEvents", fakeaws.Faults{BadToken: 0.8, Slow: share(0.1)}), nil
	case 4:
		op := pickOf(rng, "CreateTags", "DescribeTags", "TagResources", "GetResources", "DescribeInstances", "DescribeVolumes", "DescribeImages", "TagRole", "AssumeRole")
		return faults(op, pickOf(rng, fakeaws.Faults{ServerError: 1}, fakeaws.Faults{Throttle: 0.9}, fakeaws.Faults{LostAnswer: 0.9}, fakeaws.Faults{Slow: 0.5}, fakeaws.Faults{Reset: 1})), nil
	case 5:
		return faults("", fakeaws.Faults{LostAnswer: 0.3 + share(0.4)}), nil
	case 6:
		s.cloud.Fail("", -1, pickOf(rng, fakeaws.Reset, fakeaws.ServerError, fakeaws.Slow), scope)
		return "nothing works in " + scope.String(), one
	case 7, 8:
		action := pickOf(rng, "ec2:CreateTags", "ec2:DescribeTags", "ec2:DescribeInstances", "tag:TagResources", "tag:GetResources", "sqs:TagQueue",
			"lambda:TagResource", "s3:PutBucketTagging", "iam:TagRole", "cloudtrail:LookupEvents", "sts:AssumeRole")
		if rng.IntN(2) == 0 {
			s.cloud.Deny(action)
			return action + " is denied", nil
		}
		s.cloud.Deny(action, scope)
		return action + " is denied in " + scope.String(), one
	case 9:
		prefix := "arn:aws:" + pickOf(rng, "sqs", "sns", "lambda", "dynamodb", "logs", "secretsmanager", "rds") + ":"
		code := pickOf(rng, "InternalServiceException", "InvalidParameterException")
		n := -1
		if code == "InvalidParameterException" {
			n = 1 + rng.IntN(2) // for ever it would be AWS's last word
		}
		s.cloud.FailARN(prefix, code, n)
		return prefix + " is refused by TagResources with " + code, nil
	case 10:
		s.cloud.HideIDs()
		return "EC2's errors name no ids", nil
	case 11:
		d := between(rng, 10*time.Second, 40*time.Minute)
		s.cloud.Ahead(d)
		return fmt.Sprintf("the host is suspended for %s", d), nil
	case 12, 13:
		if s.tabled {
			op := pickOf(rng, "PutItem", "UpdateItem", "Query", "GetItem", "BatchWriteItem", "BatchGetItem", "DeleteItem")
			return faults(op, pickOf(rng, fakeaws.Faults{LostAnswer: 0.5}, fakeaws.Faults{Throttle: 0.8}, fakeaws.Faults{Partial: 0.9}, fakeaws.Faults{Slow: 0.4}, fakeaws.Faults{Reset: 0.9})), nil
		}
		if rng.IntN(3) == 0 {
			s.disk.SetCapacity(1 + rng.IntN(4000))
			return "the disk is full", nil
		}
		op, p := pickOf(rng, "", "create", "write", "sync", "rename", "remove", "syncdir"), share(1)
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		s.breakDisk(func(which string) storetest.Fault {
			if op != "" && op != which || own.Float64() >= p {
				return storetest.None
			}
			return pickOf(own, storetest.Lost, storetest.Kept)
		})
		return fmt.Sprintf("the disk fails: %q at %.2f", op, p), nil
	case 14:
		if s.sparing(rng) {
			return "", nil
		}
		s.cloud.Deny("ec2:CreateTags", scope)
		launched := s.launch(scope, 8) // more than may wait
		if rng.IntN(2) == 0 {
			s.then = func(*rand.Rand) (string, []event.Scope) {
				s.cloud.Deny("ec2:CreateTags", scope)
				for _, c := range launched[:6] { // and so all that wait
					for _, r := range c.Resources {
						s.cloud.Delete(r.ARN, developer)
					}
				}
				return "it is still denied, and most of them are terminated", one
			}
		}
		return "ec2:CreateTags is denied in " + scope.String() + " while somebody launches 200 instances", one
	case 15:
		if s.sparing(rng) {
			return "", nil
		}
		s.cloud.Deny("ec2:DescribeInstances", scope)
		s.launch(scope, 2)
		s.then = func(*rand.Rand) (string, []event.Scope) {
			return faults("CreateTags", fakeaws.Faults{Reset: 1}), nil // while what waited is expanded
		}
		return "ec2:DescribeInstances is denied in " + scope.String() + " while somebody launches 50 instances", one
	}
	return "", nil
}

var developer = fakeaws.SSO("olga.petrova@example.com", "Developer")

// sparing reports whether hundreds of resources are too many here: where few names are made, and mostly in a week.
func (s *sim) sparing(rng *rand.Rand) bool {
	return len(s.only) > 0 || s.length > simHours && rng.IntN(20) > 0
}

// launch has somebody launch 25 instances n times.
func (s *sim) launch(scope event.Scope, n int) []fakeaws.Created {
	var all []fakeaws.Created
	for range n {
		all = append(all, s.cloud.Create(scope, "RunInstances", developer, fakeaws.Spec{Count: 25}))
	}
	return all
}
