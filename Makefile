# rot13d: build, run, test, measure, install. `make help` lists the targets.

PREFIX = /usr/local
DESTDIR =
# Another architecture: make TARGET=aarch64-unknown-linux-gnu
TARGET =
# armv7 as Thumb code, which is a quarter smaller; ARMv6, in ARM code.
BOARDS = x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu riscv64gc-unknown-linux-gnu \
         thumbv7neon-unknown-linux-gnueabihf arm-unknown-linux-gnueabihf

CARGO = cargo
BINARY = target/$(if $(TARGET),$(TARGET)/)release/rot13d
SYMBOLS = $(BINARY:target/%=target/symbols/%)
SUITE = $(CARGO) test --release --quiet --test suite --

# What the tests call, as command:package (Debian's names).
TOOLS = nc.openbsd:netcat-openbsd nc.traditional:netcat-traditional ncat:ncat \
        busybox:busybox-static socat:socat telnet:telnet strace:strace mandoc:mandoc \
        ip:iproute2 iptables:iptables tcpserver:ucspi-tcp bwrap:bubblewrap \
        systemd-analyze:systemd readelf:binutils gdb:gdb setsid:util-linux nsenter:util-linux systemctl:systemd sysctl:procps \
        runsvdir:runit s6-svscan:s6 buildah:buildah shellcheck:shellcheck git:git \
        inetd:openbsd-inetd:unpacked xinetd:xinetd:unpacked haproxy:haproxy:unpacked openrc-run:openrc:unpacked
# What packages are made with.
PACKERS = cargo-deb@3.8.0 cargo-cyclonedx@0.5.9

# cargo for a package of its own below tests/: $(call apart,COMMAND,FOLDER)
apart = CARGO_TARGET_DIR=target/$(notdir $(2)) $(CARGO) $(1) --manifest-path tests/$(2)/Cargo.toml
# The bench, and two of its rivals, which are programs of the same package.
BUILD_BENCH = @RUSTFLAGS= $(call apart,build --release --quiet,bench)

# A path as one word of a shell command, whatever is in it.
quote = '$(subst ','\'',$(1))'
# A file of contrib/ and where it goes, with the server where it is installed.
server = $(PREFIX)/sbin/rot13d
server_word = $(if $(word 2,$(server)),"$(server)",$(server))
place = install -D -m $(1) contrib/$(2) $(call quote,$(DESTDIR)$(3)) && \
        sed -i $(call quote,s|/usr\(/local\)*/sbin/rot13d|$(server_word)|) $(call quote,$(DESTDIR)$(3))
SYSTEMD = /etc/systemd/system

.PHONY: all run test test-board audit size symbols faults memory soak bench bench-board boards test-boards toolchains boot carry \
        install install-systemd install-openrc install-sysvinit install-openwrt install-runit \
        install-s6 install-sysctl uninstall dist clean help tools check

all: ## build the server (for another architecture with TARGET=…)
	$(if $(TARGET),sh tests/target.sh $(TARGET),$(CARGO)) build --release

run: all ## serve on port 43211 until Ctrl-C (with TARGET=… under qemu-user)
	$(if $(TARGET),@sh tests/boards.sh run $(TARGET),$(BINARY) -v)

test: TOOLS += $(if $(TARGET),qemu-aarch64-static:qemu-user-static)
test: tools ## install what the tests need, then run all of them (with TARGET=… under qemu-user)
	$(if $(TARGET),,@$(call apart,test --quiet --bin bench,bench))
	$(if $(TARGET),@sh tests/boards.sh test $(TARGET),@sh tests/suite.sh)

tools: ## install what the tests need (as root on Debian), or name it
	@sh tests/tools.sh $(TOOLS) $(PACKERS)

test-board: ## wire-level cases against a running server: HOST=… [PORT=…]
	@sh tests/board.sh $(call quote,$(HOST)) $(PORT)

# (A program without std is linted as it is built: its panics must abort.)
check: ## format, lints, documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --no-deps --document-private-items
	$(call apart,fmt --check,bench)
	$(call apart,clippy --quiet --all-targets,bench) -- -D warnings
	$(call apart,fmt --check,boot/crowd)
	$(call apart,clippy --quiet --release,boot/crowd) -- -D warnings

audit: tools ## the exact system calls, compared with tests/audit.txt
	@$(CARGO) test --release --test suite -- audit::
	@cat tests/audit.txt

faults: tools ## every documented error of every system call, as a table
	@$(CARGO) test --release --test suite -- --nocapture faults::

memory: tools ## how many clients a memory limit carries, as a table (as root; UPDATE=1 writes it into the README)
	@$(SUITE) --nocapture --ignored memory::

soak: tools ## a million connections, ten thousand clients at once
	@$(SUITE) --show-output --test-threads 1 --ignored soak

size: all symbols ## what the usual tools say of the file: sections, segments, biggest functions
	size -A $(BINARY)
	readelf -SlW $(BINARY)
	nm -CS --size-sort --reverse-sort --radix=d $(SYMBOLS) | head -n 30

symbols: ## the same code with symbols, for gdb, perf and nm
	$(if $(TARGET),sh tests/target.sh $(TARGET),$(CARGO)) rustc --release --quiet --bin rot13d --target-dir target/symbols -- -Cstrip=none

bench: all ## measure against everybody; writes tests/bench/REPORT.md and the README's costs (ARGS=--compare: against the first edition alone)
	sh tests/bench/install.sh
	$(BUILD_BENCH)
	target/bench/release/bench $(ARGS)

bench-board: ## a few figures on an arm64 board, booted in qemu, against the lecture's program and tcpsvd
	$(BUILD_BENCH)
	@target/bench/release/bench --board $(ARGS)

boards: ## build for every architecture; sizes, compared with the README's (UPDATE=1 writes them there)
	@UPDATE=$(UPDATE) sh tests/boards.sh sizes $(BOARDS)

test-boards: TOOLS += qemu-aarch64-static:qemu-user-static \
        aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu arm-linux-gnueabihf-gcc:gcc-arm-linux-gnueabihf
test-boards: tools ## the suite against each binary, under qemu-user; built in all ways that people have
	@sh tests/boards.sh test $(BOARDS)
	@sh tests/boards.sh ways

toolchains: TOOLS = nc.openbsd:netcat-openbsd
toolchains: tools ## build and try it with the oldest Rust, the installed one, the newest and beta
	@sh tests/toolchains.sh

boot: ## boot Debian kernels with the server in them, as a child and as PID 1
	@sh tests/boards.sh boot

carry: ## boot them with little memory: how many clients a board carries (UPDATE=1 writes it into the README)
	@UPDATE=$(UPDATE) sh tests/boards.sh carry

install: ## what is built, and the manual page, into $(DESTDIR)$(PREFIX)
	@test -f $(BINARY) || { echo "There is no $(BINARY): run make$(if $(TARGET), TARGET=$(TARGET)) first." >&2; exit 1; }
	install -D -m 755 $(BINARY) $(call quote,$(DESTDIR)$(server))
	install -D -m 644 src/rot13d.8 $(call quote,$(DESTDIR)$(PREFIX)/share/man/man8/rot13d.8)

# make install-NAME: the files for systemd, openrc, sysvinit, openwrt, runit, s6, sysctl
install-systemd:
	@$(call place,644,systemd/rot13d.socket,$(SYSTEMD)/rot13d.socket)
	@$(call place,644,systemd/rot13d.service,$(SYSTEMD)/rot13d.service)
	@echo "Then: systemctl enable --now rot13d.socket"

install-openrc:
	@$(call place,755,openrc/rot13d,/etc/init.d/rot13d)
	@echo "Then: rc-update add rot13d && rc-service rot13d start"

install-sysvinit:
	@$(call place,755,sysvinit/rot13d,/etc/init.d/rot13d)
	@echo "Then: update-rc.d rot13d defaults && service rot13d start"

install-openwrt:
	@$(call place,755,openwrt/rot13d,/etc/init.d/rot13d)
	@echo "Then: /etc/init.d/rot13d enable && /etc/init.d/rot13d start"

install-runit:
	@$(call place,755,runit/run,/etc/sv/rot13d/run)
	@$(call place,755,runit/log/run,/etc/sv/rot13d/log/run)
	@echo "Then: ln -s /etc/sv/rot13d /etc/service/"

install-s6:
	@$(call place,755,s6/run,/etc/s6/rot13d/run)
	@$(call place,755,s6/log/run,/etc/s6/rot13d/log/run)
	@$(call place,644,s6/notification-fd,/etc/s6/rot13d/notification-fd)
	@$(call place,644,s6/timeout-kill,/etc/s6/rot13d/timeout-kill)
	@echo "Then: link /etc/s6/rot13d into the scan directory and run s6-svscanctl -a"

install-sysctl:
	@$(call place,644,sysctl/rot13d.conf,/etc/sysctl.d/rot13d.conf)
	@echo "Then: sysctl --system"

uninstall: ## take all of that away again
	rm -f $(call quote,$(DESTDIR)$(server)) $(call quote,$(DESTDIR)$(PREFIX)/share/man/man8/rot13d.8)
	rm -f $(call quote,$(DESTDIR)$(SYSTEMD)/rot13d.socket) $(call quote,$(DESTDIR)$(SYSTEMD)/rot13d.service)
	rm -f $(call quote,$(DESTDIR)/etc/init.d/rot13d) $(call quote,$(DESTDIR)/etc/sysctl.d/rot13d.conf)
	rm -rf $(call quote,$(DESTDIR)/etc/sv/rot13d) $(call quote,$(DESTDIR)/etc/s6/rot13d)

dist: ## a tarball, a .deb and a list of parts for every board, in target/dist
	@sh tests/boards.sh build $(BOARDS)
	@sh tests/tools.sh $(PACKERS) git:git
	@sh tests/dist.sh $(BOARDS)

clean: ## remove everything that was built or fetched
	$(CARGO) clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1 \2/p; s/^# make \([^:]*\): \(.*\)/\1 \2/p' Makefile | while read -r target text; do printf '  make %-12s %s\n' "$$target" "$$text"; done
