# bicast in three images from one file: `gateway` (the server, and `bicast publish`), `shield` (Varnish), `edge` (nginx).
# docker-compose.yml puts them together. Other bases: --build-arg RUST=…, NODE=…, DEBIAN=….
# The gateway is the last: builders without BuildKit build all that stands before their target, and nginx needs no compiler.
ARG RUST=rust:1.95-bookworm
ARG NODE=node:22-bookworm-slim
ARG DEBIAN=debian:bookworm-slim

FROM ${DEBIAN} AS shield
RUN apt-get update \
  && apt-get install -y --no-install-recommends varnish \
  && rm -rf /var/lib/apt/lists/* \
  && mkdir -p /var/lib/bicast-shield && chown vcache:varnish /var/lib/bicast-shield
COPY deploy/varnish/default.vcl /etc/varnish/default.vcl
USER vcache
EXPOSE 6081/tcp
# What is listed is small and goes soon: a gigabyte is minutes of many feeds.
CMD ["varnishd", "-F", "-j", "none", "-n", "/var/lib/bicast-shield", "-f", "/etc/varnish/default.vcl", "-a", "0.0.0.0:6081", "-s", "malloc,1g", "-p", "thread_pool_min=100", "-p", "thread_pool_max=2000"]

FROM ${DEBIAN} AS edge
RUN apt-get update \
  && apt-get install -y --no-install-recommends nginx-light openssl \
  && rm -rf /var/lib/apt/lists/* \
  && mkdir -p /etc/bicast/tls && chown -R www-data:www-data /etc/bicast /var/lib/nginx
COPY deploy/nginx/nginx.conf /etc/nginx/nginx.conf
COPY deploy/nginx/start /usr/local/bin/start
USER www-data
EXPOSE 8080/tcp 8443/tcp
CMD ["/usr/local/bin/start"]

FROM ${NODE} AS web
WORKDIR /src/web-demo
COPY web-demo/package.json web-demo/package-lock.json ./
RUN npm ci --no-fund --no-audit
COPY web-demo ./
RUN npm run --silent build

FROM ${RUST} AS build
# OpenH264 and Opus, which the test picture is coded with, are built from source.
RUN apt-get update \
  && apt-get install -y --no-install-recommends cmake nasm pkg-config \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package bicast && strip target/release/bicast

FROM ${DEBIAN} AS gateway
RUN useradd --system --uid 10001 --no-create-home bicast && install -d -o bicast /var/lib/bicast
COPY --from=build /src/target/release/bicast /usr/local/bin/bicast
COPY --from=web /src/web-demo/dist /usr/share/bicast/web
ENV BICAST_HTTP__WEB_ROOT=/usr/share/bicast/web
# Reached through published ports. Whoever runs it sets keys (BICAST_AUTH__SECRET, …) or BICAST_AUTH__OPEN=true.
ENV BICAST_HTTP__LISTEN=0.0.0.0:8080,[::]:8080
USER bicast
WORKDIR /tmp
EXPOSE 8080/tcp 8189/udp 8189/tcp
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s CMD ["bicast", "health"]
ENTRYPOINT ["bicast"]
CMD ["serve"]
