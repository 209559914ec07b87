# `make help` lists the targets. Each one first installs the packages it needs
# (tools/setup.sh), and nothing else.

PREFIX ?= /usr
SYSCONFDIR ?= /etc
DESTDIR ?=
CARGO ?= cargo

target := $(or $(CARGO_TARGET_DIR),target)
release := $(target)/release/wslmesh
relay := $(target)/release/wslmesh-relay
# Where tools/windows.sh leaves it.
relay_exe := $(target)/windows/x86_64-pc-windows-gnu/release/wslmesh-relay.exe

bindir = $(DESTDIR)$(PREFIX)/bin
libdir = $(DESTDIR)$(PREFIX)/lib/wslmesh
datadir = $(DESTDIR)$(PREFIX)/share/wslmesh
docdir = $(DESTDIR)$(PREFIX)/share/doc/wslmesh
unitdir = $(DESTDIR)$(PREFIX)/lib/systemd/system
presetdir = $(DESTDIR)$(PREFIX)/lib/systemd/system-preset
sysusersdir = $(DESTDIR)$(PREFIX)/lib/sysusers.d
tmpfilesdir = $(DESTDIR)$(PREFIX)/lib/tmpfiles.d
catalogdir = $(DESTDIR)$(PREFIX)/lib/systemd/catalog
mandir = $(DESTDIR)$(PREFIX)/share/man
bashdir = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zshdir = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
fishdir = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
dbusdir = $(DESTDIR)$(PREFIX)/share/dbus-1
polkitdir = $(DESTDIR)$(PREFIX)/share/polkit-1
confdir = $(DESTDIR)$(SYSCONFDIR)/wslmesh
units = wslmesh.service wslmesh-online.target wslmesh-wait-online.service wslmesh-tunnel.service

.PHONY: help demo test bench pictures build relay-exe packages install uninstall lint deny clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 18

demo: ## show the agent through four address changes in a simulated WSL (no root)
	@tools/setup.sh build lab
	$(CARGO) build --locked
	$(CARGO) test --locked --test lab -- --demo

test: ## run everything that CI runs: lints, unit, lab, VM, relay, package, system tests
	@tools/test.sh

bench: ## measure the release build and compare it with the usual scripts
	@tools/setup.sh build lab bench
	@tools/peers.sh || [ $$? = 77 ]
	$(CARGO) build --release --locked
	WSLMESH_BIN="$(abspath $(release))" WSLMESH_RELAY_BIN="$(abspath $(relay))" WSLMESH_RELAY_EXE="$(abspath $(relay_exe))" \
		$(CARGO) test --locked --test lab -- --bench

pictures: ## render docs/pictures/*.svg from a real demo and a real `wslmesh status`
	@tools/setup.sh build lab pictures
	$(CARGO) build --locked
	tools/pictures.py $(CARGO) test --quiet --locked --test lab -- --demo

# Without a compiler for Windows the rest is still built.
build: ## build the release binaries, and the relay for Windows if possible
	@tools/setup.sh build
	$(CARGO) build --release --locked
	@if tools/setup.sh windows; then \
		echo "tools/windows.sh build"; \
		tools/windows.sh build; \
	else \
		echo "not built: the relay for Windows (see above; retry with 'make relay-exe')"; \
	fi

relay-exe: ## build only the relay for Windows
	@tools/setup.sh build windows
	tools/windows.sh build

packages: build ## build a deb and an rpm in target/packages
	@tools/setup.sh packages
	tools/packages.sh "$(target)/packages"

# Compiles nothing, so that root installs what a user has built.
install: ## install the built release into DESTDIR and PREFIX (default /usr)
	@test -x "$(release)" || { echo "$(release) does not exist: run 'make build' first" >&2; exit 1; }
	@test -x "$(relay)" || { echo "$(relay) does not exist: run 'make build' first" >&2; exit 1; }
	install -D -m 755 "$(release)" "$(bindir)/wslmesh"
	install -D -m 755 "$(relay)" "$(libdir)/wslmesh-relay"
	@if [ -e "$(relay_exe)" ]; then \
		echo "install -D -m 755 $(relay_exe) $(libdir)/windows/wslmesh-relay.exe"; \
		install -D -m 755 "$(relay_exe)" "$(libdir)/windows/wslmesh-relay.exe"; \
	else \
		echo "NOT INSTALLED: wslmesh-relay.exe, not built ('make relay-exe'); without it UDP forwards do not work" >&2; \
	fi
	install -D -m 644 config/network/wsl-network.conf "$(datadir)/wsl-network.conf"
	install -d -m 755 "$(unitdir)"
	for unit in $(units); do \
		sed 's|/usr/bin/wslmesh|$(PREFIX)/bin/wslmesh|g' systemd/$$unit >"$(unitdir)/$$unit" || exit 1; \
		chmod 644 "$(unitdir)/$$unit"; \
	done
	install -D -m 644 systemd/wslmesh.service.d/10-wsl.conf "$(unitdir)/wslmesh.service.d/10-wsl.conf"
	install -D -m 644 systemd/80-wslmesh.preset "$(presetdir)/80-wslmesh.preset"
	install -D -m 644 systemd/sysusers.conf "$(sysusersdir)/wslmesh.conf"
	install -D -m 644 systemd/tmpfiles.conf "$(tmpfilesdir)/wslmesh.conf"
	install -D -m 644 systemd/wslmesh.catalog "$(catalogdir)/wslmesh.catalog"
	install -D -m 644 dbus/org.wslmesh.Agent1.conf "$(dbusdir)/system.d/org.wslmesh.Agent1.conf"
	install -D -m 644 dbus/org.wslmesh.Agent1.xml "$(dbusdir)/interfaces/org.wslmesh.Agent1.xml"
	install -D -m 644 dbus/org.wslmesh.Agent1.policy "$(polkitdir)/actions/org.wslmesh.Agent1.policy"
	install -D -m 644 dbus/wslmesh.rules "$(polkitdir)/rules.d/wslmesh.rules"
	install -d -m 755 "$(mandir)/man5" "$(mandir)/man8"
	install -m 644 $(wildcard man/*.5) "$(mandir)/man5"
	install -m 644 $(wildcard man/*.8) "$(mandir)/man8"
	install -d -m 755 "$(bashdir)" "$(zshdir)" "$(fishdir)"
	"$(release)" completions bash >"$(bashdir)/wslmesh"
	"$(release)" completions zsh >"$(zshdir)/_wslmesh"
	"$(release)" completions fish >"$(fishdir)/wslmesh.fish"
	chmod 644 "$(bashdir)/wslmesh" "$(zshdir)/_wslmesh" "$(fishdir)/wslmesh.fish"
	install -d -m 755 "$(docdir)"
	install -m 644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE LICENSE-LGPL-2.1 NOTICE $(wildcard docs/*.md) "$(docdir)"
	install -d -m 755 "$(docdir)/modes"
	install -m 644 $(wildcard docs/modes/*.md) "$(docdir)/modes"
	install -d -m 755 "$(docdir)/examples"
	install -m 644 systemd/examples/* "$(docdir)/examples"
	@if [ -e "$(confdir)/wslmesh.toml" ]; then \
		echo "kept the existing $(confdir)/wslmesh.toml"; \
	else \
		echo "install -D -m 644 packaging/wslmesh.toml $(confdir)/wslmesh.toml"; \
		install -D -m 644 packaging/wslmesh.toml "$(confdir)/wslmesh.toml"; \
	fi
	@test -n "$(DESTDIR)" || echo "next: systemd-sysusers && systemd-tmpfiles --create && journalctl --update-catalog && systemctl daemon-reload && systemctl enable --now wslmesh"

# Restores the kernel's values while the program is still installed.
uninstall: ## stop, restore MTUs and sysctls, remove all but the configuration
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then \
		echo "systemctl disable --now wslmesh.service"; \
		systemctl disable --now wslmesh.service || true; \
	fi
	@if [ -z "$(DESTDIR)" ] && [ -x "$(bindir)/wslmesh" ]; then \
		echo "$(bindir)/wslmesh restore"; \
		"$(bindir)/wslmesh" restore || true; \
	fi
	rm -f "$(bindir)/wslmesh" $(patsubst %,"$(unitdir)/%",$(units))
	rm -f "$(libdir)/wslmesh-relay" "$(libdir)/windows/wslmesh-relay.exe"
	rm -f "$(sysusersdir)/wslmesh.conf" "$(tmpfilesdir)/wslmesh.conf"
	rm -f "$(catalogdir)/wslmesh.catalog"
	rm -f "$(presetdir)/80-wslmesh.preset"
	rm -f $(patsubst man/%,"$(mandir)/man5/%",$(wildcard man/*.5)) $(patsubst man/%,"$(mandir)/man8/%",$(wildcard man/*.8))
	rm -f "$(bashdir)/wslmesh" "$(zshdir)/_wslmesh" "$(fishdir)/wslmesh.fish"
	rm -f "$(dbusdir)/system.d/org.wslmesh.Agent1.conf" "$(dbusdir)/interfaces/org.wslmesh.Agent1.xml"
	rm -f "$(polkitdir)/actions/org.wslmesh.Agent1.policy" "$(polkitdir)/rules.d/wslmesh.rules"
	rm -rf "$(unitdir)/wslmesh.service.d" "$(datadir)" "$(docdir)"
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then \
		echo "journalctl --update-catalog"; \
		journalctl --update-catalog || true; \
	fi
	@rmdir "$(libdir)/windows" "$(libdir)" 2>/dev/null || true # other files may be in them
	@echo "kept: $(confdir) and /var/lib/wslmesh"

lint: ## check formatting, clippy, shell scripts
	@tools/setup.sh build lint
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	tools/shellcheck.sh

deny: ## check licences, versions, sources and advisories of the dependencies
	@tools/setup.sh build
	@tools/deny.sh --install --advisories

clean: ## remove everything that was built
	rm -rf "$(target)"
