package awsclient

import (
	"fmt"

	"github.com/aws/smithy-go/logging"
	"go.uber.org/zap"
)

// sdkLogger gives the SDK's own messages to log: it would else write lines to stderr that are not JSON.
func sdkLogger(log *zap.Logger) logging.Logger {
	return logging.LoggerFunc(func(class logging.Classification, format string, v ...any) {
		message := zap.String("message", fmt.Sprintf(format, v...))
		if class == logging.Warn {
			log.Warn("the AWS SDK warns", message)
			return
		}
		log.Debug("the AWS SDK says", message)
	})
}
