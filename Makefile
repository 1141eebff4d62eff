# Short names of scripts/, for who has make. `make` builds; `make help` lists everything; V=1 shows every command.
SHELL := /bin/bash
PREFIX ?= /opt/appmesh

.DEFAULT_GOAL := build
.PHONY: build prepare start stop stop-all test test-long fresh bench format lint clean install help

build: ## build build/release/bin/{appsvc,appkeeper,appc}
	@scripts/build release appsvc appkeeper appc

prepare: ## install what a build needs from Debian's packages (the other targets do it too)
	@scripts/prepare build

start: ## build, start the daemon in ./.appmesh and show it at work
	@scripts/start

stop: ## end the daemon; running apps stay under appkeeper
	@scripts/stop

stop-all: ## end the daemon, the keeper and every app
	@scripts/stop --all

test: ## every test that CI runs; the last line is "N passed, N failed"
	@scripts/test

test-long: ## the long versions: 100 kills of the daemon among 200 apps, all of make fresh, and more
	@scripts/test --long

fresh: ## the README's commands on Debian's minimal system, as root and as a plain user
	@scripts/fresh

bench: ## benchmarks beside peers, results in build/bench
	@scripts/bench

format: ## clang-format every C and C++ file in place
	@scripts/format

lint: ## clang-format check, include arrows, clang-tidy over everything
	@scripts/lint

clean: ## remove build/ (not ./.appmesh)
	@echo "removing build/"
	@rm -rf build

install: build ## install below PREFIX (default /opt/appmesh)
	@echo "installing below $(PREFIX)"
	@cmake --install build/release --prefix $(PREFIX) >/dev/null

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
