# The image of sandgate: one static binary and its SBOM. scripts/image builds the last stage without a daemon.
FROM rust:1.95.0-bookworm AS content
RUN apt-get update && apt-get install -y --no-install-recommends "cmake=3.25.1-*" && rm -rf /var/lib/apt/lists/*
RUN cargo install --locked cargo-cyclonedx --version 0.5.9
WORKDIR /sandgate
COPY . .
ARG TARGETARCH
ARG SOURCE_DATE_EPOCH=0
RUN SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH scripts/static-binary /content $TARGETARCH

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sandgate" \
      org.opencontainers.image.description="Kubernetes admission webhook that keeps every pod of chosen namespaces inside a gVisor sandbox" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      dev.sandgate.sbom="/sandgate.cdx.json" \
      dev.sandgate.sbom.format="CycloneDX"
COPY --from=content /content/ /
USER 65532:65532
EXPOSE 10250 8080
ENTRYPOINT ["/sandgate"]
