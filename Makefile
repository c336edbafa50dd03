# siflet: run `make help` for the targets.
export CGO_ENABLED = 0
SHELL      := /bin/bash
GO         ?= go
BIN        := bin
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    := -s -w
# The older garbage collector keeps 50 kB less in each of many small processes.
SMALL      := GOEXPERIMENT=nogreenteagc
# The linker leaves its file in memory page by page. A copy is there in larger pieces, as one that is read from
# disk is, and programs start faster from it: a pod takes 5 % less CPU time.
PROGRAMS   := siflet siflet-agent siflet-instance siflet-action siflet-fuse
PREFIX     ?= /usr/local
FUZZTIME   ?= 20s
TOOL       := $(GO) tool -modfile=hack/tools/go.mod

# Debian packages, by what needs them: building SIFs, tests, the virtual machine for cgroup v2.
PACKAGES   := squashfs-tools busybox-static iproute2 nftables containernetworking-plugins curl \
	docker-registry mmdebstrap squashfs-tools-ng attr gnupg zstd python3-seccomp apparmor criu crun e2fsprogs \
	git poppler-utils squashfuse uidmap passt slirp4netns rpm
VMPACKAGES := qemu-system-x86 checkpolicy

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: deps
deps: ## install the Debian packages that building and testing need (root)
	@hack/deps $(PACKAGES) $(VMPACKAGES)

.PHONY: run-deps
run-deps:
	@hack/deps squashfs-tools busybox-static

.PHONY: build
build: ## the five programs, in bin
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '$(LDFLAGS) -X main.version=$(VERSION)' -o $(BIN)/siflet ./cmd/siflet
	$(GO) build -trimpath -ldflags '$(LDFLAGS) -X main.version=$(VERSION)' -o $(BIN)/siflet-agent ./cmd/siflet-agent
	$(SMALL) $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/siflet-instance ./cmd/siflet-instance
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/siflet-action ./cmd/siflet-action
	$(SMALL) $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/siflet-fuse ./cmd/siflet-fuse
	@for p in $(PROGRAMS); do cp $(BIN)/$$p $(BIN)/.$$p && mv $(BIN)/.$$p $(BIN)/$$p || exit; done

.PHONY: run
run: run-deps build ## clone to a pod that answers: see README
	@$(GO) build -o $(BIN)/demo ./hack/demo
	@exec $(BIN)/demo

.PHONY: test
test: deps build ## everything: units, real kernel, CRI, command line, cgroup v2 in a VM
	$(GO) vet ./...
	$(GO) test -count=1 -timeout 25m ./...
	$(MAKE) --no-print-directory test-packages test-v2 test-systemd test-selinux

# What depends on the kernel, on that of Debian, where all cgroups are v2. The
# machine has no compiler: it takes the commands of bin. An emulator runs it, ten times slower:
# files of tests that have little to do with a kernel are named here, and left to the machine's own.
SAME_CRI := agent_stop archive attach cdi cni codes counts density events forward full handler \
	hooks_bundle identity image image_dirs image_names mount_ext3 mount_targets nri nri_failure older \
	person plugin_stop policy pull refuse reload stream_end stream_idle streaming trace umask \
	weather_clock weather_disk weather_network weather_nri weather_record websocket
SAME_NODE := checkpoint_diff engine_events engine_images engine_native image_store layer_acl_store layer_convert layer_flat squashfs squashfs_tables
# The names of the tests in these files of a directory, for -test.skip.
named = $(strip $(foreach f,$2,$(if $(wildcard $1/$(f)_test.go),,$(error there is no $1/$(f)_test.go))))^($(shell grep -oh '^func Test[A-Za-z0-9_]*' $(patsubst %,$1/%_test.go,$2) | cut -d' ' -f2 | paste -sd'|'))$$
V2TESTS = -test ./cgroups -test ./runtime/linux -test ./network -test './test/node -test.short -test.skip=$(call named,test/node,$(SAME_NODE))' \
	-test './test/cri -test.short -test.skip=$(call named,test/cri,$(SAME_CRI))' \
	-test './test/cli -test.run=TestScripts/(instances|stopping|restart|network)$$'
VMPROGRAMS := $(foreach p,$(PROGRAMS),-file $(BIN)/$p:/src/bin/$p)
V2TOOLS := mksquashfs mkfs.ext3 ip nft tc apparmor_parser /usr/lib/cni/bridge /usr/lib/cni/host-local criu crun

.PHONY: test-v2
test-v2: build ## the kernel tests again on cgroup v2, in a virtual machine
	$(GO) run ./hack/vm -timeout 30m -env SIFLET_BIN=/src/bin -env SIFLET_TEST_IMAGES=/tmp $(foreach t,$(V2TOOLS),-tool $t) \
		$(VMPROGRAMS) $(if $(wildcard ../shared/testdata),-file ../shared/testdata:/shared/testdata) $(V2TESTS)

.PHONY: test-packages
test-packages: packages ## what is in the packages
	SIFLET_PACKAGES=$(CURDIR)/dist $(GO) test -count=1 ./test/packages

.PHONY: test-systemd
test-systemd: packages ## pods as scopes of systemd, its services, an upgrade of the package, in a virtual machine that it runs
	$(GO) run ./hack/vm -systemd -timeout 20m -file dist:/src/dist -env SIFLET_PACKAGES=/src/dist -env SIFLET_BIN=/src/bin -env SIFLET_TEST_IMAGES=/tmp $(foreach t,$(V2TOOLS),-tool $t) \
		$(VMPROGRAMS) -test './test/cri -test.run=Scope|CgroupParent' -test ./test/systemd

.PHONY: test-selinux
test-selinux: build ## labels of containers and volumes, in a virtual machine with SELinux
	$(GO) run ./hack/vm -selinux test/cri/testdata/selinux/policy.conf -timeout 10m -env SIFLET_BIN=/src/bin -env SIFLET_TEST_IMAGES=/tmp \
		-tool mksquashfs -tool criu -file test/cri/testdata/selinux/contexts:/usr/share/containers/selinux/contexts $(VMPROGRAMS) \
		-test './test/cri -test.run=Label|Relabel'

# Kubernetes is in a module of its own, so that nothing else has to load, or to agree with, what it needs.
KUBERNETES := kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl
$(KUBERNETES:%=$(BIN)/%): hack/kubernetes/go.mod hack/kubernetes/go.sum
	@mkdir -p $(BIN)
	v=$$($(GO) -C hack/kubernetes list -m -f '{{.Version}}' k8s.io/kubernetes) && $(GO) -C hack/kubernetes build -trimpath \
		-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$v" -o $(CURDIR)/$@ k8s.io/kubernetes/cmd/$(@F)

$(BIN)/etcd: hack/kubernetes/go.mod hack/kubernetes/go.sum
	@mkdir -p $(BIN)
	$(GO) -C hack/kubernetes build -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ go.etcd.io/etcd/server/v3

.PHONY: test-kubelet
test-kubelet: build $(BIN)/kubelet ## a real kubelet's static pods; compiling it takes minutes, once
	SIFLET_BIN=$(CURDIR)/$(BIN) SIFLET_KUBELET=$(CURDIR)/$(BIN)/kubelet $(GO) test -count=1 -timeout 15m ./test/kubelet

.PHONY: test-cluster
test-cluster: build $(KUBERNETES:%=$(BIN)/%) $(BIN)/etcd ## a cluster of two nodes; compiling Kubernetes takes 15 minutes, once
	SIFLET_BIN=$(CURDIR)/$(BIN) SIFLET_CLUSTER=$(CURDIR)/$(BIN) $(GO) test -count=1 -timeout 25m ./test/cluster

$(BIN)/golangci-lint: hack/tools/go.mod hack/tools/go.sum
	@mkdir -p $(BIN)
	$(GO) build -modfile=hack/tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: lint
lint: $(BIN)/golangci-lint ## golangci-lint, pinned in hack/tools
	$< run ./...

.PHONY: bench
bench: run-deps build ## measure; a table here and bench.json
	$(GO) run ./test/bench -o bench.json

.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME each
	@hack/fuzz $(FUZZTIME)

# What is installed beside the programs is made from them.
PREFIXED   := $(DESTDIR)$(PREFIX)
CONFIG     := $(DESTDIR)/etc/siflet/config.toml

.PHONY: install
install: build ## programs, unit, manual, completion and configuration, into PREFIX (default /usr/local)
	install -D -m 0755 $(BIN)/siflet $(PREFIXED)/bin/siflet
	for p in siflet-agent siflet-instance siflet-action siflet-fuse; do install -D -m 0755 $(BIN)/$$p $(PREFIXED)/libexec/siflet/$$p || exit; done
	install -d $(PREFIXED)/lib/systemd/system $(PREFIXED)/share/bash-completion/completions $(PREFIXED)/share/zsh/site-functions \
		$(PREFIXED)/share/fish/vendor_completions.d
	sed 's,/usr/bin/siflet,$(PREFIX)/bin/siflet,' hack/packages/siflet-agent.service >$(PREFIXED)/lib/systemd/system/siflet-agent.service
	$(BIN)/siflet completion bash >$(PREFIXED)/share/bash-completion/completions/siflet
	$(BIN)/siflet completion zsh >$(PREFIXED)/share/zsh/site-functions/_siflet
	$(BIN)/siflet completion fish >$(PREFIXED)/share/fish/vendor_completions.d/siflet.fish
	$(BIN)/siflet manual $(PREFIXED)/share/man/man1
	$(BIN)/siflet-agent manual $(PREFIXED)/share/man/man8
	gzip -9nf $(PREFIXED)/share/man/man1/siflet*.1 $(PREFIXED)/share/man/man8/siflet*.8
	install -D -m 0644 -t $(PREFIXED)/share/doc/siflet docs/monitoring/siflet-alerts.yaml docs/monitoring/siflet-dashboard.json
	[ -e $(CONFIG) ] || { install -d $(DESTDIR)/etc/siflet && $(BIN)/siflet config default >$(CONFIG); }

# A version that dpkg and rpm can compare, also where no release is tagged.
PACKAGE_VERSION ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//; s/-/+/; s/-/./g' | grep . || \
	git log -1 --format=0.0.0+git%cd.%h --date=format:%Y%m%d%H%M%S 2>/dev/null || echo 0.0.0)
NFPM       := GOARCH=$$($(GO) env GOARCH) SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 0)

$(BIN)/nfpm: hack/nfpm/go.mod hack/nfpm/go.sum
	@mkdir -p $(BIN)
	$(GO) build -modfile=hack/nfpm/go.mod -o $@ github.com/goreleaser/nfpm/v2/cmd/nfpm

.PHONY: packages
packages: build $(BIN)/nfpm ## a deb and an rpm, in dist
	rm -rf dist && mkdir -p dist
	$(MAKE) --no-print-directory install PREFIX=/usr DESTDIR=dist/stage
	for p in deb rpm; do $(NFPM) PACKAGE_VERSION=$(PACKAGE_VERSION) $(BIN)/nfpm package -f hack/packages/nfpm.yaml -p $$p -t dist/ || exit; done
	rm -rf dist/stage

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN) dist bench.json
