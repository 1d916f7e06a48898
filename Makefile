# rot13d: build, run, test, measure, install. `make help` lists the targets.

PREFIX = /usr/local
DESTDIR =
# Another architecture: make TARGET=aarch64-unknown-linux-gnu
TARGET =
BOARDS = x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu thumbv7neon-unknown-linux-gnueabihf \
         riscv64gc-unknown-linux-gnu i686-unknown-linux-gnu s390x-unknown-linux-gnu
# Bytes that the file may have on x86_64: one page.
MOST = 4096

CARGO = cargo
BINARY = target/$(if $(TARGET),$(TARGET)/)release/rot13d
SUITE = $(CARGO) test --release --quiet --test suite --

# What the tests call, as command:package (Debian's names).
TOOLS = nc.openbsd:netcat-openbsd nc.traditional:netcat-traditional ncat:ncat \
        busybox:busybox-static socat:socat telnet:telnet strace:strace mandoc:mandoc \
        ip:iproute2 iptables:iptables tcpserver:ucspi-tcp bwrap:bubblewrap \
        systemd-analyze:systemd readelf:binutils setsid:util-linux inetd:openbsd-inetd nsenter:util-linux systemctl:systemd sysctl:procps

.PHONY: all run test test-board audit size faults soak bench boards test-boards boot \
        install uninstall clean help tools check

all: ## build the server (for another architecture with TARGET=…)
	$(CARGO) build --release $(if $(TARGET),--target $(TARGET) --config .cargo/boards.toml)

run: all ## serve on port 43211 until Ctrl-C
	$(BINARY) -v

test: tools ## install what the tests need, then run all of them
	$(SUITE)

tools: ## install what the tests need (as root on Debian), or name it
	@sh tests/tools.sh $(TOOLS)

test-board: ## wire-level cases against a running server: HOST=… [PORT=…]
	@sh tests/board.sh $(HOST) $(PORT)

check: ## format, lints, documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --no-deps --document-private-items

audit: tools ## the exact system calls, compared with tests/audit.txt
	@$(SUITE) --nocapture --test-threads 1 audit

faults: tools ## every documented error of every system call, as a table
	@$(SUITE) --nocapture faults

soak: tools ## a million connections, ten thousand clients at once
	@$(SUITE) --nocapture --test-threads 1 --ignored soak

size: all ## file, segments, sections, biggest functions; fails over the budget
	@sh tests/size.sh $(BINARY) $(MOST) "$(TARGET)"

bench: all ## measure against everybody; writes tests/bench/REPORT.md (ARGS=--compare: against the first edition alone)
	sh tests/bench/install.sh
	RUSTFLAGS= CARGO_TARGET_DIR=target/bench $(CARGO) run --release --quiet --manifest-path tests/bench/Cargo.toml --bin bench -- $(ARGS)

boards: ## build for every architecture, print sizes
	@sh tests/boards.sh build $(BOARDS)

test-boards: TOOLS += qemu-aarch64-static:qemu-user-static
test-boards: tools ## the suite against each binary, under qemu-user
	@sh tests/boards.sh test $(BOARDS)

boot: ## boot Debian kernels with the server in them, as a child and as PID 1
	@sh tests/boards.sh boot

install: all ## into $(DESTDIR)$(PREFIX): the binary and the manual page
	install -D -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/sbin/rot13d
	install -D -m 644 src/rot13d.8 $(DESTDIR)$(PREFIX)/share/man/man8/rot13d.8

uninstall: ## take both away again
	rm -f $(DESTDIR)$(PREFIX)/sbin/rot13d $(DESTDIR)$(PREFIX)/share/man/man8/rot13d.8

clean: ## remove everything that was built or fetched
	$(CARGO) clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1 \2/p' Makefile | while read -r target text; do printf '  make %-12s %s\n' "$$target" "$$text"; done
