# The two commands of the README, and the few others that the documentation names. `make` alone lists them.

CARGO ?= cargo
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

.PHONY: help
help:
	@echo "make try        set up, build, and run rdpwhy on the captures that are shipped"
	@echo "make test       set up, and run every check: format, lints, tests, documentation"
	@echo "make install    set up, and install rdpwhy with cargo"
	@echo "make calibrate  measure how often the reset forensics are right, beside two baselines"
	@echo "make fuzz       run every fuzz target for FUZZ_SECONDS each (default 60)"
	@echo "make peers      compare speed with tcpdump, tcptrace, tshark and others on one big capture"
	@echo "make lab        make every capture again (needs root, Debian packages and network namespaces)"

# The pcap crate links libpcap; its headers are the one thing that cargo cannot fetch.
.PHONY: setup
setup:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install the Rust toolchain first (https://rustup.rs)"; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: install gcc"; exit 1; }
	@if printf '#include <pcap/pcap.h>\nint main(void){return pcap_lib_version()==0;}\n' | cc -xc - -lpcap -o /dev/null 2>/dev/null; then :; \
	elif command -v apt-get >/dev/null; then $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy libpcap-dev; \
	elif command -v dnf >/dev/null; then $(SUDO) dnf install -y libpcap-devel; \
	elif command -v pacman >/dev/null; then $(SUDO) pacman -S --noconfirm libpcap; \
	elif command -v brew >/dev/null; then brew install libpcap; \
	else echo "the headers of libpcap are missing: install the package libpcap-dev (or libpcap-devel)"; exit 1; fi

.PHONY: build
build: setup
	$(CARGO) build --release --locked

.PHONY: try
try: build
	@./target/release/rdpwhy captures/nla-required-tls-client/client.pcapng; [ $$? -le 1 ]
	@./target/release/rdpwhy captures --force -o target/captures.txt; [ $$? -le 1 ]
	@echo; echo "The verdicts on all captures of this repository are in target/captures.txt."

.PHONY: install
install: setup
	$(CARGO) install --locked --path .

.PHONY: test
test: setup
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet

.PHONY: lab
lab:
	captures/lab/lab all

FUZZ_SECONDS ?= 60
FUZZ_TARGETS = capture packet rdp tls udp side gateway examine

# Needs `cargo install cargo-fuzz`. Without sanitizers it runs on the stable toolchain: the code is safe Rust, what is looked for are
# panics, endless loops and memory that grows.
.PHONY: fuzz
fuzz: setup
	$(CARGO) run --quiet --manifest-path tests/fuzz/Cargo.toml --release --example seeds
	cd tests && for target in $(FUZZ_TARGETS); do \
		$(CARGO) fuzz run --fuzz-dir fuzz -s none $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -timeout=10 -max_len=$$(if [ $$target = examine ]; then echo 8192; else echo 65536; fi) || exit 1; \
	done

# The forensics of resets against simulated connections of known origin; the figures are in docs/calibration.md.
.PHONY: calibrate
calibrate: setup
	$(CARGO) bench --profile dev --bench calibrate

# One big capture out of those of this repository (SIZE in bytes), and the tools that are installed beside rdpwhy, in one run.
SIZE ?= 1e9

.PHONY: peers
peers: build
	benches/peers --size $(SIZE)
