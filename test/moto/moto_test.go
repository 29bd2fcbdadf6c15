package moto_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/autotagd/autotagd/test/moto"
)

func TestServersAreApartAndAnswerTheSDK(t *testing.T) {
	first, second := moto.Start(t), moto.Start(t)
	if first == second {
		t.Errorf("both are at %s", first)
	}
	for _, url := range []string{first, second} {
		client := sts.NewFromConfig(aws.Config{
			Region:       "eu-west-1",
			BaseEndpoint: aws.String(url),
			Credentials:  credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
		})
		out, err := client.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil {
			t.Fatal(err)
		}
		if got := aws.ToString(out.Account); got != moto.AccountID {
			t.Errorf("account = %s, want %s", got, moto.AccountID)
		}
	}
}
