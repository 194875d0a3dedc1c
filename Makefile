# What can be made: `make help`.

PREFIX ?= /usr
DESTDIR ?=
CARGO ?= cargo
CARGO_FLAGS ?= --locked

# rustup keeps cargo where a root shell's PATH may not look.
export PATH := $(or $(CARGO_HOME),$(or $(HOME),/root)/.cargo)/bin:$(PATH)

# With rustup, the compiler of rust-toolchain.toml, also where it is installed under another name.
ifndef RUSTUP_TOOLCHAIN
RUSTUP_TOOLCHAIN := $(shell packaging/toolchain)
endif
ifneq ($(RUSTUP_TOOLCHAIN),)
export RUSTUP_TOOLCHAIN
endif

VERSION := $(shell sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
ARCH = $(shell dpkg --print-architecture)
# Evaluated when used: the compiler may only just have been installed.
MULTIARCH = $(shell dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch 2>/dev/null)
PAM_DIR = $(PREFIX)/lib/$(MULTIARCH)/security

ROOT = $(DESTDIR)$(PREFIX)
DOC = $(ROOT)/share/doc/jitd
MAN = $(ROOT)/share/man
# `make quick` and `make story` build without optimisation, and leave the package that is shipped alone.
PROFILE ?= release
TARGET = $(or $(CARGO_TARGET_DIR),target)
RELEASE = $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
TREE = $(TARGET)/deb/$(PROFILE)
DEB = $(if $(filter release,$(PROFILE)),dist,$(RELEASE))/jitd_$(VERSION)_$(ARCH).deb

# What `make quick` plays: one story of each capability.
QUICK_STORIES = gate::denied::the_refusal_names_the_line_to_type gate::window::the_whole_story_on_trixie \
	request::authority::nobody_approves_for_herself session::end::everything_is_gone_after_the_deadline_on_trixie \
	audit::chain::every_record_reaches_syslog

# Never writes over a file that a running process has mapped, and never leaves a moment without it: a PAM stack that
# names a missing module refuses everybody.
define put
install -d $(dir $(3))
install -m $(1) $(2) $(3).new
mv -f $(3).new $(3)
endef

.PHONY: help build demo test test-hostile soak check quick story deb-unoptimised bench bench-verify deb install install-files clean setup-build setup-test setup-check
.DEFAULT_GOAL := help

help:
	@echo 'make demo      a request, a window and its end on a booted Debian host; KEEP=1 leaves the host up'
	@echo 'make test      every test; those on booted hosts need root'
	@echo 'make quick     formatting, lints, unit tests, five stories: what is quick enough after each change; as root'
	@echo 'make story STORY=NAME   the stories whose names contain NAME, on a package without optimisation; as root'
	@echo 'make test-hostile   attacks on a booted host in their long form, a line for what each came to; about half an hour'
	@echo 'make check     formatting, lints, licences, then make test: what has to hold before a commit'
	@echo 'make bench     what the gate costs sudo, beside its alternatives, on a booted host'
	@echo 'make soak      the long forms of tests that have one: 200 kills in the middle of commits, 50 power cuts, 20,000 flipped'
	@echo '               bits, 20,000 sudos, 5,000 grants, 2,000 sessions'
	@echo 'make bench-verify   what verifying 1,000,000 records costs, beside sha256sum; about a minute'
	@echo 'make deb       $(DEB)'
	@echo 'make install   the files, under DESTDIR and PREFIX ($(PREFIX)); changes no PAM file'
	@echo 'make build     the binaries, in $(RELEASE)'
	@echo 'make clean     removes what was built, the cached test hosts included'
	@echo 'Missing Debian packages and a missing Rust toolchain are installed first, where this runs as root.'

setup-build setup-test setup-check:
	@packaging/setup $(@:setup-%=%)

# The module is built last and alone: with the daemon in the same build its zbus would get tokio, and sudo a thread.
build: setup-build
	$(CARGO) build --profile $(PROFILE) $(CARGO_FLAGS) -p jitd -p jitctl -p pam_trial -p jit_host
	$(CARGO) build --profile $(PROFILE) $(CARGO_FLAGS) -p pam_jit
	$(CARGO) build --profile $(PROFILE) $(CARGO_FLAGS) -p jit_proto --example fill

# A line for each step; what was built is shown where it fails.
demo: setup-test
	@mkdir -p dist
	@printf '... building the package and the demo (the first time takes minutes): '
	@{ $(MAKE) --no-print-directory deb && $(CARGO) build --release $(CARGO_FLAGS) -p jit_tests --bin demo; } >dist/demo-build.log 2>&1 \
		|| { echo 'failed'; cat dist/demo-build.log; exit 1; }
	@echo 'done'
	@$(RELEASE)/demo

bench: setup-test deb
	$(CARGO) build --release $(CARGO_FLAGS) -p jit_tests
	$(RELEASE)/bench

bench-verify: setup-build
	$(CARGO) bench $(CARGO_FLAGS) -p jitd --bench verify

soak: setup-test deb
	$(CARGO) test --release $(CARGO_FLAGS) -p jitd --test crash -- soak
	JIT_SOAK=1 $(CARGO) test --release $(CARGO_FLAGS) -p jit_tests --test stories -- --test-threads=1 --nocapture host::endurance:: \
		gate::module_leaks:: session::lifted_deadline::
	$(CARGO) test --release $(CARGO_FLAGS) -p jitd --test flips -- soak
	JIT_SOAK=1 $(CARGO) test --release $(CARGO_FLAGS) -p jit_tests --test contributing -- --nocapture
	JIT_SOAK_CUTS=50 $(CARGO) test --release $(CARGO_FLAGS) -p jit_tests --test stories -- audit::store::what_was_acknowledged

test: setup-test deb
	@tests/run.sh

test-hostile: setup-test deb
	$(CARGO) build --release $(CARGO_FLAGS) -p jit_tests
	$(RELEASE)/hostile_lane

quick: setup-check deb-unoptimised
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet $(CARGO_FLAGS) --workspace --exclude pam_jit --all-targets -- -D warnings
	$(CARGO) clippy --quiet $(CARGO_FLAGS) -p pam_jit --all-targets -- -D warnings
	$(CARGO) test --quiet $(CARGO_FLAGS) --workspace --exclude pam_jit --exclude jit_tests --lib
	$(CARGO) test --quiet $(CARGO_FLAGS) -p pam_jit --lib
	JIT_PACKAGE=$(abspath $(TARGET))/debug/$(notdir $(DEB)) RUST_TEST_THREADS=2 \
		$(CARGO) test $(CARGO_FLAGS) -p jit_tests --test stories -- --exact $(QUICK_STORIES)

story: setup-test deb-unoptimised
	@test -n '$(STORY)' || { echo 'make story STORY=gate::window::the_whole_story_on_trixie' >&2; exit 1; }
	JIT_PACKAGE=$(abspath $(TARGET))/debug/$(notdir $(DEB)) $(CARGO) test $(CARGO_FLAGS) -p jit_tests --test stories -- $(STORY)

deb-unoptimised:
	@$(MAKE) --no-print-directory deb PROFILE=dev

# cargo-deny is checked where it is installed; building it takes longer than everything else here.
check: setup-check
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --exclude pam_jit --all-targets -- -D warnings
	$(CARGO) clippy $(CARGO_FLAGS) -p pam_jit --all-targets -- -D warnings
	@if cargo-deny --version >/dev/null 2>&1; then \
		echo 'cargo deny check licenses bans sources'; \
		$(CARGO) deny --locked check licenses bans sources; \
	else \
		echo 'check: NOT CHECKED: licences, bans and sources (deny.toml): cargo-deny is not installed' >&2; \
	fi
	@$(MAKE) --no-print-directory test

deb: build
	rm -rf $(TREE)
	@$(MAKE) --no-print-directory install-files DESTDIR=$(TREE) PREFIX=/usr
	CARGO='$(CARGO)' packaging/debian/mkdeb $(TREE) $(VERSION) $(ARCH) $(DEB)

install: build
	@$(MAKE) --no-print-directory install-files

# Puts the table of audit events into a template (jit_proto/src/audit/event).
FILL = $(RELEASE)/examples/fill

# The one list of what is installed where; the package is made from what this lays out.
install-files:
	@test -n '$(MULTIARCH)' || { echo 'install: the multiarch name of this machine is unknown; give MULTIARCH=' >&2; exit 1; }
	$(call put,0755,$(RELEASE)/jitd,$(ROOT)/libexec/jitd)
	$(call put,0755,$(RELEASE)/jit-polkit,$(ROOT)/libexec/jit-polkit)
	$(call put,0755,$(RELEASE)/jitctl,$(ROOT)/bin/jitctl)
	$(call put,0755,$(RELEASE)/jitd-pam-trial,$(ROOT)/libexec/jitd-pam-trial)
	install -D -m 0755 packaging/libexec/jitd-webhook $(ROOT)/libexec/jitd-webhook
	$(call put,0644,$(RELEASE)/libpam_jit.so,$(DESTDIR)$(PAM_DIR)/pam_jit.so)
	install -d $(ROOT)/lib/systemd/system
	sed 's|/usr/libexec/|$(PREFIX)/libexec/|' systemd/jitd.service >$(ROOT)/lib/systemd/system/jitd.service
	sed 's|/usr/bin/|$(PREFIX)/bin/|' systemd/jitd-pam-undo.service >$(ROOT)/lib/systemd/system/jitd-pam-undo.service
	chmod 0644 $(ROOT)/lib/systemd/system/jitd.service $(ROOT)/lib/systemd/system/jitd-pam-undo.service
	install -m 0644 systemd/jitd.socket systemd/jitd-operator.socket systemd/jitd-polkit.socket systemd/jitd-doctor.timer systemd/jit.slice $(ROOT)/lib/systemd/system/
	sed 's|/usr/bin/|$(PREFIX)/bin/|' systemd/jitd-doctor.service >$(ROOT)/lib/systemd/system/jitd-doctor.service
	chmod 0644 $(ROOT)/lib/systemd/system/jitd-doctor.service
	install -d $(ROOT)/lib/systemd/catalog
	$(FILL) packaging/journal/jitd.catalog.in >$(ROOT)/lib/systemd/catalog/jitd.catalog
	chmod 0644 $(ROOT)/lib/systemd/catalog/jitd.catalog
	install -D -m 0644 packaging/sysusers/jitd.conf $(ROOT)/lib/sysusers.d/jitd.conf
	install -D -m 0644 packaging/tmpfiles/jitd.conf $(ROOT)/lib/tmpfiles.d/jitd.conf
	install -D -m 0644 packaging/dbus/org.jitd.Jit1.conf $(ROOT)/share/dbus-1/system.d/org.jitd.Jit1.conf
	install -D -m 0644 packaging/dbus/org.jitd.Jit1.service $(ROOT)/share/dbus-1/system-services/org.jitd.Jit1.service
	install -D -m 0644 packaging/dbus/org.jitd.Jit1.xml $(ROOT)/share/dbus-1/interfaces/org.jitd.Jit1.xml
	install -d $(DESTDIR)/etc/jitd/roles.d
	test -e $(DESTDIR)/etc/jitd/jitd.toml || install -m 0644 packaging/etc/jitd/jitd.toml $(DESTDIR)/etc/jitd/jitd.toml
	install -m 0644 packaging/etc/jitd/roles.d/README $(DESTDIR)/etc/jitd/roles.d/README
	install -d $(MAN)/man1 $(MAN)/man5 $(MAN)/man7 $(MAN)/man8
	$(RELEASE)/jitctl man >$(MAN)/man1/jitctl.1
	gzip -9nf $(MAN)/man1/jitctl.1
	for page in packaging/man/*.[578]; do \
		gzip -9nc $$page >$(MAN)/man$${page##*.}/$${page##*/}.gz || exit 1; \
	done
	$(FILL) packaging/man/jit-audit.5.in >$(MAN)/man5/jit-audit.5
	gzip -9nf $(MAN)/man5/jit-audit.5
	chmod 0644 $(MAN)/man?/*
	install -d $(ROOT)/share/bash-completion/completions $(ROOT)/share/zsh/vendor-completions $(ROOT)/share/fish/vendor_completions.d
	$(RELEASE)/jitctl completions bash >$(ROOT)/share/bash-completion/completions/jitctl
	$(RELEASE)/jitctl completions zsh >$(ROOT)/share/zsh/vendor-completions/_jitctl
	$(RELEASE)/jitctl completions fish >$(ROOT)/share/fish/vendor_completions.d/jitctl.fish
	chmod 0644 $(ROOT)/share/bash-completion/completions/jitctl $(ROOT)/share/zsh/vendor-completions/_jitctl \
		$(ROOT)/share/fish/vendor_completions.d/jitctl.fish
	install -d $(DOC)/examples/pam $(DOC)/siem
	sed -e 's|(packaging/siem/|(siem/|g' -e 's|(packaging/examples/|(examples/|g' -e 's|(CHANGELOG.md)|(CHANGELOG.md.gz)|g' \
		README.md >$(DOC)/README.md
	chmod 0644 $(DOC)/README.md
	install -d $(DOC)/docs
	for page in docs/*.md; do \
		sed -e 's|(../packaging/siem/|(../siem/|g' -e 's|(../packaging/examples/|(../examples/|g' $$page >$(DOC)/$$page || exit 1; \
		chmod 0644 $(DOC)/$$page || exit 1; \
	done
	install -m 0644 SECURITY.md ARCHITECTURE.md CONTRIBUTING.md DEPENDENCIES.md LICENSE-APACHE LICENSE-MIT $(DOC)/
	gzip -9nc CHANGELOG.md >$(DOC)/CHANGELOG.md.gz
	install -m 0644 packaging/examples/* $(DOC)/examples/
	install -m 0644 packaging/pam/* $(DOC)/examples/pam/
	for file in $$(cd packaging/siem && find . -type f); do \
		install -D -m 0644 packaging/siem/$$file $(DOC)/siem/$$file || exit 1; \
	done
	for file in $$(cd $(DOC)/siem && find . -name '*.in'); do \
		$(FILL) packaging/siem/$$file >$(DOC)/siem/$${file%.in} && rm $(DOC)/siem/$$file || exit 1; \
		chmod 0644 $(DOC)/siem/$${file%.in} || exit 1; \
	done

# Not with a test host still up: its mounts reach out of the folder.
clean:
	@! grep -qF " $(abspath target)/" /proc/self/mounts || { echo "clean: something is mounted below target, a test host is up" >&2; exit 1; }
	rm -rf dist
	$(CARGO) clean
