# The image of autotagd: one static binary and the CA certificates, without a shell, for a root that is read-only. docs/ecs.md
# says how to build it and run it; `make image` proves it.
#
# The base is pinned by its exact version; for a pin to the byte put its digest behind the tag, which
# `docker buildx imagetools inspect golang:1.26.8` tells. Nothing of the base is in the image but the CA certificates.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS="$TARGETOS" GOARCH="$TARGETARCH" make build BIN=/out/autotagd VERSION="$VERSION" COMMIT="$COMMIT" && \
    install -d /out/state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/autotagd /usr/bin/
# Checkpoints in files are here, and what the demo writes: a volume, so that it can be written where the root can't. With
# checkpoints in DynamoDB nothing is written. A new volume begins as a copy of this directory, with its owner.
COPY --from=build --chown=65532:65532 /out/state/ /var/lib/autotagd/
VOLUME /var/lib/autotagd
ENV STATE_DIRECTORY=/var/lib/autotagd TMPDIR=/var/lib/autotagd
USER 65532:65532
# The web port, if the configuration has it on all addresses: web: {listen: ":9464"}.
EXPOSE 9464
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s CMD ["/usr/bin/autotagd", "health"]
ENTRYPOINT ["/usr/bin/autotagd"]
CMD ["run"]
ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="autotagd" \
      org.opencontainers.image.description="Finds out who created every AWS resource and writes that on the resource" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/autotagd/autotagd" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
