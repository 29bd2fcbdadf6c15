package daemon

import (
	"testing"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// Auto Scaling hands tags on to instances where the configuration says so, and by no call that can't.
func TestPropagateAtLaunch(t *testing.T) {
	for _, tt := range []struct{ yaml, want string }{
		{"{}", "false"},
		{"tagging: {propagate_at_launch: true}", "true"},
	} {
		_, planner := plannerOf(t, tt.yaml)
		r, err := event.Parse([]byte(`{"eventSource":"autoscaling.amazonaws.com","eventName":"CreateAutoScalingGroup","awsRegion":"eu-west-1",
			"recipientAccountId":"111122223333","userIdentity":{"type":"IAMUser","userName":"ann","principalId":"AIDA"},
			"requestParameters":{"autoScalingGroupName":"g"},
			"responseElements":{"autoScalingGroupARN":"arn:aws:autoscaling:eu-west-1:111122223333:autoScalingGroup:1:autoScalingGroupName/g"}}`))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // what one Plan changes is not the catalog's
			plan := planner.Plan(r, resource.EventRef{})
			if len(plan.Jobs) != 1 {
				t.Fatalf("%+v", plan)
			}
			res := plan.Jobs[0].Resource
			call := res.OwnCall()
			if call == nil || call.Params[propagateParam] != tt.want || res.TagAPI != "autoscaling:CreateOrUpdateTags" {
				t.Errorf("%s: %s with %+v, want propagation %s", tt.yaml, res.TagAPI, call, tt.want)
			}
		}
	}
}
