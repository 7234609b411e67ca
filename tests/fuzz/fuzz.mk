# SPDX-License-Identifier: BSD-2-Clause
# make fuzz            the request parser for FUZZ_SECONDS (default 600), corpus kept in build/fuzz/corpus
# make fuzz-short      25 seconds, part of make test
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

FUZZ_RUN = build/fuzz/http_parse -dict=tests/fuzz/http.dict -max_len=3000 -timeout=10 -print_final_stats=1 \
           -artifact_prefix=build/fuzz/

.PHONY: fuzz fuzz-short
fuzz: build/fuzz/http_parse
	$(FUZZ_RUN) -max_total_time=$(FUZZ_SECONDS) build/fuzz/corpus tests/fuzz/corpus

fuzz-short: build/fuzz/http_parse
	$(FUZZ_RUN) -max_total_time=25 build/fuzz/corpus tests/fuzz/corpus

include tests/fuzz/fuzz_ext4.mk
fuzz-short: fuzz-ext4-short
fuzz: fuzz-ext4
