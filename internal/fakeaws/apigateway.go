package fakeaws

import (
	"encoding/json"
	"fmt"
)

// API Gateway's resources can't be tagged by TagResources: it has calls of its own, in REST's way.

// tagAPI answers TagResource: PUT /tags/ARN.
func (a *AWS) tagAPI(c *call) answer {
	r, failed := a.apiNamed(c)
	if failed != nil {
		return *failed
	}
	var in struct {
		Tags map[string]string `json:"tags"`
	}
	if err := json.Unmarshal(c.body, &in); err != nil || len(in.Tags) == 0 {
		return restError(400, "BadRequestException", "Invalid request body")
	}
	for key, value := range in.Tags {
		if bad := badTag(key, value, 128); bad != "" {
			return restError(400, "BadRequestException", bad)
		}
	}
	switch code := a.tagKnown(c, r, in.Tags); code {
	case "":
		return answer{status: 204}
	case "TooManyTagsException":
		return restError(400, "BadRequestException", fmt.Sprintf("A resource has at most %d tags", maxTags))
	default:
		return restError(403, code, "User is not authorized to tag "+c.resource)
	}
}

// tagsOfAPI answers GetTags: GET /tags/ARN.
func (a *AWS) tagsOfAPI(c *call) answer {
	r, failed := a.apiNamed(c)
	if failed != nil {
		return *failed
	}
	return jsonOK(object{"tags": r.Tags})
}

func (a *AWS) apiNamed(c *call) (*Resource, *answer) {
	r := a.byARN[c.resource]
	if r == nil || !r.exists() || r.consistentAt.After(c.now) || r.Scope != c.scope || r.Service != "apigateway" {
		e := restError(404, "NotFoundException", "Invalid API identifier specified")
		return nil, &e
	}
	return r, nil
}

// restError has its code in a header.
func restError(status int, code, message string) answer {
	ans := jsonOK(object{"message": message})
	ans.status, ans.code, ans.typ = status, code, "application/json"
	ans.header = map[string]string{"X-Amzn-Errortype": code}
	return ans
}
