# SPDX-License-Identifier: BSD-2-Clause
# make fuzz            each fuzzer for FUZZ_SECONDS (default 600), corpora kept in build/fuzz
# make fuzz-tests      each for so many inputs and 25 seconds at most, as TAP: a part of make test. The same inputs
#                      each time; SEED=n makes others
# make fuzz-http       the request parser
# The oracle is llhttp, whose C comes with Debian's node-llhttp.
FUZZ_CC      ?= clang
FUZZ_SECONDS ?= 600
LLHTTP_DIR   ?= /usr/share/llhttp
LLHTTP_INC   ?= /usr/share/include/llhttp
FUZZ_FLAGS   := -std=gnu11 -g -O1 -DPAGEWIRE_HOST -Iinclude -I. -fsanitize=fuzzer,address,undefined \
                -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_SOURCES := tests/fuzz/fuzz_http_parse.c tests/fuzz/fuzz_llhttp.c server/http_parse.c server/http_head.c server/http_uri.c \
                server/http_range.c server/http_date.c server/http_cond.c server/http_body.c kernel/civil.c \
                kernel/string.c

build/fuzz/http_parse: $(FUZZ_SOURCES) $(wildcard server/*.h include/*/*.h)
	@mkdir -p build/fuzz/corpus
	for f in api http llhttp; do $(FUZZ_CC) -O2 -w -DLLHTTP_STRICT_MODE=1 -I$(LLHTTP_INC) -c \
		-o build/fuzz/llhttp_$$f.o $(LLHTTP_DIR)/$$f.c || exit 1; done
	$(FUZZ_CC) $(FUZZ_FLAGS) -isystem $(LLHTTP_INC) -o $@ $(FUZZ_SOURCES) build/fuzz/llhttp_*.o

FUZZ_SHORT = -seed=$(or $(SEED),20260722) -max_total_time=25
FUZZ_RUN = build/fuzz/http_parse -dict=tests/fuzz/http.dict -max_len=3000 -timeout=120 -print_final_stats=1 \
           -artifact_prefix=build/fuzz/

.PHONY: fuzz fuzz-http fuzz-http-short fuzz-build fuzz-tests
fuzz-http: build/fuzz/http_parse
	$(FUZZ_RUN) -max_total_time=$(FUZZ_SECONDS) build/fuzz/corpus tests/fuzz/corpus
fuzz-http-short: build/fuzz/http_parse
	@rm -rf build/fuzz/short-http && mkdir -p build/fuzz/short-http
	$(FUZZ_RUN) $(FUZZ_SHORT) -runs=1000000 build/fuzz/short-http tests/fuzz/corpus

include tests/fuzz/fuzz_ext4.mk
include tests/fuzz/fuzz_xml.mk
fuzz: fuzz-http fuzz-ext4 fuzz-xml

# TAP, for tools/test.
FUZZ_TARGETS := http ext4 xml
fuzz-build: build/fuzz/http_parse build/fuzz/ext4 build/fuzz/xml
fuzz-tests: fuzz-build
	@echo "1..$(words $(FUZZ_TARGETS))"
	@n=0; for t in $(FUZZ_TARGETS); do n=$$((n + 1)); log=build/fuzz/$$t.log; \
		if $(MAKE) --no-print-directory fuzz-$$t-short >$$log 2>&1; then echo "ok $$n - fuzz-$$t"; \
		else tail -40 $$log; echo "not ok $$n - fuzz-$$t: see $$log"; fi; done
