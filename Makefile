# Cellar. "make run" does everything that is needed and starts the hub.
DATA    ?= ./data
LISTEN  ?= 127.0.0.1:8888
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
GO      ?= go

.DEFAULT_GOAL := help
.PHONY: help setup setup-test image build licenses web run test conformance check bench test-vm clean

help: ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing: Debian packages, container tools, the kernel image
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh --test

image: setup ## build one more kernel image (IMAGE=r or IMAGE=torch)
	@scripts/build-image.sh $(IMAGE)

web: ## build JupyterLab with our extension
	@scripts/build-web.sh

build: web ## build bin/cellar, and the licences of its parts: bin/LICENSES.txt
	@scripts/build.sh "$(VERSION)"
	@scripts/licenses.sh

licenses: ## only bin/LICENSES.txt, from what is built
	@scripts/licenses.sh

run: setup build ## set up, build, start the hub (DATA=./data LISTEN=127.0.0.1:8888)
	@exec $(SUDO) env CELLAR_CACHE="$(CELLAR_CACHE)" bin/cellar serve --data "$(DATA)" --listen "$(LISTEN)"

test: setup-test build ## all tests that this machine can run; says what it cannot
	@scripts/test.sh

conformance: setup build ## the same checks on jupyter_server and on Cellar, in two columns
	@scripts/conformance.sh

check: ## format, vet, lint, race tests, generated files, import picture
	@scripts/check.sh

bench: setup-test build ## the figures, beside their peers
	@scripts/bench.sh

test-vm: setup-test build ## the same on cgroup v2: a Debian virtual machine under QEMU
	@scripts/test-vm.sh

clean: ## remove what was built, and what root left of tests (not the rest of .cache, not data)
	@rm -rf bin web/lab/dist web/lab/build
	@$(SUDO) rm -rf "$(or $(CELLAR_CACHE),.cache)/test" "$(or $(CELLAR_CACHE),.cache)/test-template"
