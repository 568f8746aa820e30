# The gateway as production runs it, without the engine.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake pkg-config && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home miroir && install -d -o 10001 -g 10001 /var/lib/miroir
COPY --from=build /src/target/release/miroir /usr/local/bin/miroir
USER 10001
EXPOSE 7700 7701 9090
ENTRYPOINT ["miroir"]
CMD ["serve", "--config", "/etc/miroir/miroir.yaml"]
