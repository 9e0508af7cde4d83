#!/bin/sh
# Installs the Debian packages that the end-to-end tests and benchmarks use, if any is missing.
set -e
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need curl curl
need dig dnsutils
need openssl openssl
need haproxy haproxy
need nginx nginx-light
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"
need caddy caddy
need redis-server redis-server
need redis-cli redis-tools
need wrk wrk
need h2load nghttp2-client
need strace strace
need serf serf
need victoria-metrics victoria-metrics
need prometheus prometheus
need ip iproute2
[ -z "$missing" ] && exit 0
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing
