FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /idle-scaler ./cmd/idle-scaler

# Root certificates and nothing else; the program carries its own time zones.
FROM gcr.io/distroless/static:nonroot
COPY --from=build /idle-scaler /idle-scaler
# "nonroot", as the number that Kubernetes needs to verify runAsNonRoot.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/idle-scaler"]
CMD ["run"]
