# SPDX-License-Identifier: BSD-2-Clause
# Host unit tests: tests/host/test_NAME.c with the kernel's own .c files, compiled for the host with
# ASan and UBSan and run under cmocka. A test names what it needs in its first lines:
#     // SOURCES: server/http_parse.c kernel/string.c
#     // CFLAGS: -Isomething            (optional)
#     // ARCHIVES: build/host/libnet.a  (optional; made by other rules)
# tests/host/shim*.c give the rest: panic, locks, WTD queue run by hand, page frames from malloc.
HOST_CC     ?= gcc
HOST_CFLAGS := -std=gnu11 -g -O1 -Wall -Wextra -Werror -Wno-unused-parameter -DPAGEWIRE_HOST -Iinclude -I. -Itests/host \
               -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
HOST_TESTS  := $(patsubst tests/host/test_%.c,%,$(wildcard tests/host/test_*.c))
HOST_BINS   := $(HOST_TESTS:%=build/host/test_%)

# A pattern does not mean fs/userfile*.c: files of programs need the kernel's streams around them.
host_sources = $(foreach s,$(shell sed -n 's|^// SOURCES: *||p' $(1)),$(if $(findstring *,$(s)),\
                 $(filter-out fs/userfile%,$(wildcard $(s))),$(s)))
host_cflags  = $(shell sed -n 's|^// CFLAGS: *||p' $(1))
host_archives = $(shell sed -n 's|^// ARCHIVES: *||p' $(1))

# Tests that want the same flags share objects: build/host/o/KEY/PATH.o, KEY a checksum of the flags.
host_key     = $(firstword $(shell printf %s '$(call host_cflags,$(1))' | cksum))
host_objects = $(patsubst %.c,build/host/o/$(1)/%.o,$(2))

define host_rule
HOST_KEY_$(1) := $$(call host_key,tests/host/test_$(1).c)
HOST_KEYS += $$(HOST_KEY_$(1))
HOST_FLAGS_$$(HOST_KEY_$(1)) := $(call host_cflags,tests/host/test_$(1).c)
build/host/test_$(1): $$(call host_objects,$$(HOST_KEY_$(1)),tests/host/test_$(1).c $(wildcard tests/host/shim*.c) \
                        $(call host_sources,tests/host/test_$(1).c)) $(call host_archives,tests/host/test_$(1).c)
	$$(HOST_CC) $$(HOST_CFLAGS) $(call host_cflags,tests/host/test_$(1).c) -o $$@ $$^ -lcmocka -lm
endef
$(foreach t,$(HOST_TESTS),$(eval $(call host_rule,$(t))))

define host_object_rule
build/host/o/$(1)/%.o: %.c | $(LWIP_READY) $(CRYPTO_READY)
	@mkdir -p $$(@D)
	$$(HOST_CC) $$(HOST_CFLAGS) $$(filter-out -l% -Wl%,$$(HOST_FLAGS_$(1))) -MMD -MP -c -o $$@ $$<
-include $$(shell find build/host/o/$(1) -name '*.d' 2>/dev/null)
endef
$(foreach k,$(sort $(HOST_KEYS)),$(eval $(call host_object_rule,$(k))))

.PHONY: host-build host-tests
host-build: $(HOST_BINS)
host-tests: host-build
	@fail=0; for t in $(HOST_BINS); do ./$$t || fail=1; done; exit $$fail
